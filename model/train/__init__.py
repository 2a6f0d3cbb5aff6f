"""Training and evaluation of checkpoints: see `cli` for the verbs and `loop` for the run."""
