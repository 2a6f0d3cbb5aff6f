"""Weights in few bits: read from the published layouts, made from a checkpoint, computed with."""
