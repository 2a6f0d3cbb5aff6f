"""Benchmarks of the model against others that run the same weights."""
