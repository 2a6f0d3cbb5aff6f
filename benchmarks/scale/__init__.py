"""What each call of the queue costs on real servers, and what that means for a thousand workers.

`python -m benchmarks.scale` measures, works out which part is full first, and simulates a day.
"""
