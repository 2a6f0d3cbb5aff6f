"""Checkpoints from and to other formats: Meta's original files in, GGUF for llama.cpp out."""
