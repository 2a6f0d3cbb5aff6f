"""The shapes of the whole Llama family by name, for those who have no checkpoint folder yet.

The data is `presets.toml`; llama-4-behemoth was never released, and its shape is an estimate.
It refuses a name that is not there, and says which are. Called by `describe`.
"""

from __future__ import annotations

import tomllib
from importlib import resources

from model.config import ConfigError, ModelConfig


def preset(name: str) -> ModelConfig:
    """The shape of a published model, such as llama-3.1-405b."""
    with resources.files("model").joinpath("presets.toml").open("rb") as file:
        tables = tomllib.load(file)
    if name not in tables:
        raise ConfigError(
            f"{name} is neither a checkpoint folder nor a model of the family: name a folder with "
            f"config.json, or one of {', '.join(tables)}"
        )
    return ModelConfig.from_hf(tables[name])
