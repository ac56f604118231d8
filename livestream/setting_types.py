"""The types of settings: how their values are read from what `tomllib` gives, and written as TOML."""

from __future__ import annotations

import math
import re
from types import GenericAlias, UnionType
from typing import Any, get_args

import attrs

CHARACTERS = 4096
"""A string has no more: it is a path at most."""
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Controls, ends of lines, and what stands in a string for bytes of the environment that are not UTF-8."""

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


class WrongType(Exception):
    """A value is of another type than its setting."""

    def __init__(self, value: Any, wanted: str) -> None:
        super().__init__(wanted)
        self.value = value
        self.wanted = wanted

    @property
    def type(self) -> str:
        """The type of the value, for a message that must not quote it."""
        return _WORDS.get(type(self.value), "the value")


def read(value: Any, kind: Any) -> Any:
    """
    The value of a setting of this type, from what TOML has for it.

    :raises WrongType: it is of another.
    :raises ValueError: it is none that could be used; of a setting itself the message does not quote it.
    """
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    if isinstance(kind, GenericAlias) and kind.__origin__ is tuple:
        if not isinstance(value, list):
            raise WrongType(value, "a list")
        return tuple(read(each, get_args(kind)[0]) for each in value)
    if isinstance(kind, GenericAlias):
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise WrongType(value, 'a table of strings; write {name = "secret"}')
        return {name: _string(text) for name, text in value.items()}
    if attrs.has(kind):
        return _table(value, kind)
    if kind is float and type(value) in (int, float):
        return _float(value)
    if type(value) is not kind:
        raise WrongType(value, _WORDS[kind])
    return _string(value) if kind is str else value


def _table(value: Any, kind: type[Any]) -> Any:
    fields = attrs.fields_dict(attrs.resolve_types(kind))
    optional = [name for name, each in fields.items() if each.default is not attrs.NOTHING]
    if not isinstance(value, dict) or not fields.keys() - optional <= value.keys() <= fields.keys():
        all_of_them = ", ".join(f"{name} = .." for name in fields)
        may_go = f"; optional: {', '.join(optional)}" if optional else ""
        raise ValueError(f"write each as {{{all_of_them}}}{may_go}")
    taken = {key: read(each, fields[key].type) for key, each in value.items()}
    for key, each in taken.items():
        fields[key].metadata["check"](each)
    return kind(**taken)


def _float(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise WrongType(value, "a finite number")
    return number


def _string(value: str) -> str:
    """A string that can be a file's name, a header's value and a line of a log."""
    if len(value) > CHARACTERS:
        raise ValueError(f"it is longer than {CHARACTERS} characters")
    if UNPRINTABLE.search(value):
        raise ValueError("it contains a control character or invalid UTF-8")
    return value


def write(value: Any) -> str:
    """The value of a setting as TOML, which has none for ``None``."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(write, value))}]"
    if attrs.has(type(value)):
        return write(attrs.asdict(value, recurse=False))
    if isinstance(value, dict):
        pairs = (f"{write(key)} = {write(each)}" for key, each in value.items() if each is not None)
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted) + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)
