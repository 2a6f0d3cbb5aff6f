"""The Llama family in plain PyTorch: read documents once, score, generate.

Depends on torch, safetensors, tokenizers, pillow and numpy; knows nothing of the application.
`model.lexical`, which needs none of these, can be imported without loading them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.encoder import Encoder, load_encoder
    from model.engine import Engine, EngineError, load
    from model.prefixes import PrefixStore
    from model.readings import Prefix

__all__ = ["Encoder", "Engine", "EngineError", "Prefix", "PrefixStore", "load", "load_encoder"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from model import encoder, engine

    return getattr(encoder if name in ("Encoder", "load_encoder") else engine, name)
