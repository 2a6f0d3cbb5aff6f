"""Evaluation: a checkpoint asked about inputs whose answers are known, and how right it was.

`python -m workers.evaluation` is the process behind `mmapp evaluate`. It loads the engine once,
asks the tasks of the application about every input, and writes predictions, metrics and a report.
"""
