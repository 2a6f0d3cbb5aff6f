"""The Llama 4 architecture in plain PyTorch: read documents once, score, generate.

Depends on torch, safetensors, tokenizers, pillow and numpy; knows nothing of the application.
"""

from model.engine import Engine, EngineError, load
from model.prefixes import PrefixStore
from model.readings import Prefix

__all__ = ["Engine", "EngineError", "Prefix", "PrefixStore", "load"]
