"""The words that questions are made with: TOML files, and their reader.

A file becomes the dataclass that its reader names: keys are fields, and a list holds alternatives.
Refuses unknown keys, missing ones, values of another kind and empty lists, from which nothing can
be drawn; the message names the file and the key. Called by the modules of questions, once for each
file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib.resources import files
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class WordsError(ValueError):
    """A file of words cannot be used; the message names the file and the key."""


def read(cls: type[T], name: str) -> T:
    """The file of that name."""
    source = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return parse(cls, source, name)


def parse(cls: type[T], source: str, name: str) -> T:
    """The text of a file, called `name` where it is refused."""
    try:
        values = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise WordsError(f"{name}: {error}") from error
    built: T = _record(cls, values, name)
    return built


def _record(cls: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = {field.name: field for field in fields(cls)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise WordsError(f"{where}: {unknown[0]!r} is not known; known are {sorted(known)}")
    needed = [
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    ]
    missing = [name for name in needed if name not in values]
    if missing:
        raise WordsError(f"{where}: {missing[0]!r} is missing")
    kinds = get_type_hints(cls)
    return cls(
        **{name: _value(kinds[name], one, f"{where}: {name}") for name, one in values.items()}
    )


def _value(kind: Any, value: Any, where: str) -> Any:
    """A string, true or false, a list of one kind, a table of one kind, or a dataclass."""
    origin = get_origin(kind)
    if origin is tuple and isinstance(value, list) and value:
        one = get_args(kind)[0]
        return tuple(_value(one, item, f"{where}[{place}]") for place, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        one = get_args(kind)[1]
        return {name: _value(one, item, f"{where}.{name}") for name, item in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, where)  # type: ignore[arg-type]
    if origin is None and type(value) is kind:
        return value
    raise WordsError(f"{where}: {value!r:.60} is not {_named(kind)}")


def _named(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list with something in it"
    if get_origin(kind) is Mapping or is_dataclass(kind):
        return "a table"
    return "true or false" if kind is bool else "a string"
