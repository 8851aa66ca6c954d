"""Settings as frozen dataclasses: built from plain mappings with every name, type and range checked."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from gcdp.errors import ConfigError


def build(cls: type, mapping: Any, where: str) -> Any:
    """Make dataclass `cls` from a mapping, checking names and types; `where` starts the error message."""
    if not isinstance(mapping, dict):
        raise ConfigError(f"{where} must be a mapping of names to values, got {mapping!r}")
    hints = typing.get_type_hints(cls)
    for key in mapping:
        if key not in hints:
            close = get_close_matches(str(key), hints, 1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(hints)}"
            raise ConfigError(f"{where}: '{key}' is unknown{hint}")
    for f in fields(cls):
        if f.name not in mapping and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{where}: '{f.name}' is missing")
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in mapping.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON types."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:  # checked where it is used
        return value
    if origin is types.UnionType:
        return _any_of(args, hint, value, where)
    if is_dataclass(hint):
        return build(hint, value, where)
    if origin is dict and isinstance(value, dict):
        empty = {} if is_dataclass(args[1]) else None  # "joint:" alone is a model with all its defaults
        return {str(k): _convert(args[1], empty if v is None else v, f"{where}.{k}") for k, v in value.items()}
    if origin is tuple and isinstance(value, (list, tuple)):
        if args[-1] is not Ellipsis and len(args) != len(value):
            raise ConfigError(f"{where} needs {len(args)} values, got {len(value)}")
        return tuple(_convert(args[0], item, where) for item in value)
    if hint is float and type(value) in (int, float):
        return float(value)
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and type(value) is hint:
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    advice = ""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", value, re.IGNORECASE):
        advice = f": write {value.lower().replace('e', '.0e')}, without the dot YAML reads text"
    raise ConfigError(f"{where} must be of type {expected}, got {value!r}{advice}")


def _any_of(hints: Sequence[Any], union: Any, value: Any, where: str) -> Any:
    """The value as the first type of a union that takes it."""
    for hint in hints:
        try:
            return _convert(hint, value, where)
        except ConfigError:
            continue
    raise ConfigError(f"{where} must be of type {union}, got {value!r}")


def require_range(settings: object, names: str, low: float, high: float = math.inf) -> None:
    """Raise ConfigError unless low <= value <= high for every number in the named fields of `settings`.

    `names` is separated by blanks; a field may hold one number or a tuple of them. NaN is outside every range.
    """
    for name in names.split():
        value = getattr(settings, name)
        if not all(low <= number <= high for number in (value if isinstance(value, tuple) else (value,))):
            limits = f"at least {low}" if high == math.inf else f"within {low}..{high}"
            raise ConfigError(f"{name} must be {limits}, got {list(value) if isinstance(value, tuple) else value}")


def require_one_of(what: str, value: str, known: Sequence[str]) -> None:
    """Raise ConfigError unless `value` is one of `known`."""
    if value not in known:
        raise ConfigError(f"{what} '{value}' is unknown: choose one of {', '.join(known)}")
