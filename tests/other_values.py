"""Values of settings that are not their defaults, made from their types alone."""

from __future__ import annotations

from types import UnionType
from typing import Any, get_args

import attrs

from livestream.config import SETTINGS, Config


def other_value(kind: Any, default: Any, text: str) -> Any:
    """A value of this type that is not ``default``; all strings in it are ``text``. No check has seen it."""
    if isinstance(kind, UnionType):
        return other_value(get_args(kind)[0], default, text)
    if kind is bool:
        return not default
    if kind is str:
        return text
    if attrs.has(kind):
        return kind(
            **{each.name: other_value(each.type, None, text) for each in attrs.fields(attrs.resolve_types(kind))}
        )
    if kind in (int, float):
        return kind((default or 0) + 1.5)
    if kind == dict[str, str]:
        return {text: text}
    (item, _) = get_args(kind)
    return (*default, other_value(item, None, text), other_value(item, None, text))


def with_other(config: Config, name: str, text: str) -> Config:
    """``config`` with another value of the setting of this name."""
    return config.replace({name: other_value(SETTINGS[name].type, SETTINGS[name].default, text)})
