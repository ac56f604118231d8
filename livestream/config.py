"""
The configuration: TOML, the environment and ``--set``, read into frozen sections.

All that is wrong with it is found at once, and each thing is one line: where it stands, which key, and what would be
right.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import GenericAlias, UnionType
from typing import Any, get_args, get_type_hints

import attrs
from attrs import field, frozen

from livestream import endpoints
from livestream.rules import RULES, brief
from livestream.settings import (
    SECTIONS,
    Bus,
    Cache,
    Cluster,
    Edge,
    Hls,
    Ingest,
    Limits,
    Node,
    Ops,
    Origin,
    Push,
    Transcode,
    Upstream,
)

ROLES = ("all", "ingest", "origin", "edge")
PREFIX = "LIVESTREAM_"
CHARACTERS = 4096
"""A string has no more: it is a path at most."""
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Controls, ends of lines, and what stands in a string for bytes of the environment that are not UTF-8."""


class ConfigError(Exception):
    """What is wrong with a configuration, a line for each thing."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@frozen
class Config:
    """What is in force."""

    role: str
    bus: Bus = field(factory=Bus)
    ingest: Ingest = field(factory=Ingest)
    origin: Origin = field(factory=Origin)
    edge: Edge = field(factory=Edge)
    ops: Ops = field(factory=Ops)
    hls: Hls = field(factory=Hls)
    push: Push = field(factory=Push)
    transcode: Transcode = field(factory=Transcode)
    cache: Cache = field(factory=Cache)
    limits: Limits = field(factory=Limits)
    node: Node = field(factory=Node)
    cluster: Cluster = field(factory=Cluster)

    def to_toml(self) -> str:
        """What is in force, as a file that would give it. Secrets are left out, and what has one in it is a comment."""
        lines = [f"# role: {self.role}"]
        for name, section in SECTIONS.items():
            lines += ["", f"[{name}]"]
            values = getattr(self, name)
            for each in attrs.fields(section):
                value = getattr(values, each.name)
                if value != {} and value is not None:
                    lines.append(_printed(each, value))
        return "\n".join(lines) + "\n"


def changes(old: Config, new: Config) -> list[str]:
    """The settings that are another in ``new``, as ``section.key``."""
    return [
        f"{name}.{each.name}"
        for name, section in SECTIONS.items()
        for each in attrs.fields(section)
        if getattr(getattr(old, name), each.name) != getattr(getattr(new, name), each.name)
    ]


@frozen
class _Given:
    where: str
    section: str
    key: str
    value: Any


def load(
    role: str, path: str | None, environ: Mapping[str, str], sets: Sequence[str], read: Callable[[str], str]
) -> Config:
    """
    Put a configuration together: ``sets`` over the environment over the file at ``path`` over the defaults.

    :raises ConfigError: with everything that is wrong.
    """
    errors: list[str] = []
    given = [*_from_file(path, read, errors), *_from_environ(environ), *_from_sets(sets, errors)]
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for each in given:
        _take(each, values, errors)
    if role not in ROLES:
        errors.append(f"--role: {_word(role)} is none of {', '.join(ROLES)}")
    if not errors:
        config = Config(role, **{name: SECTIONS[name](**values[name]) for name in SECTIONS})
        where = "configuration" if path is None else _where(path)
        errors += [f"{where}: {line}" for line in _inconsistencies(config)]
    if errors:
        raise ConfigError(errors)
    return config


def _from_file(path: str | None, read: Callable[[str], str], errors: list[str]) -> Iterable[_Given]:
    if path is None:
        return
    where = _where(path)
    try:
        tables = _parsed(read(path))
    except OSError as error:
        errors.append(f"{where}: cannot be read: {error.strerror or error}")
        return
    except ValueError as error:
        errors.append(f"{where}: not TOML: {error}")
        return
    for section, table in tables.items():
        if not isinstance(table, dict):
            nearest = _nearest(section, SECTIONS)
            errors.append(f"{where}: {_word(section)}: a key outside a section; write it under [{nearest}]")
            continue
        for key, value in table.items():
            yield _Given(where, section, key, value)


def _parsed(text: str) -> dict[str, Any]:
    """
    Read TOML.

    :raises ValueError: it is none, or has more in it than can be read.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("brackets or tables are nested too deep") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        raise ValueError("a number has more digits than Python reads") from None


def _from_environ(environ: Mapping[str, str]) -> Iterable[_Given]:
    for name, text in sorted(environ.items()):
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if name.startswith(PREFIX) and section in SECTIONS:
            yield _Given(_word(name), section, key, _value(text))


def _from_sets(sets: Sequence[str], errors: list[str]) -> Iterable[_Given]:
    for text in sets:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot or not _PLAIN.fullmatch(name.strip()):
            # What was typed may be a secret in the wrong place: only the name of a setting is quoted.
            quoted = f" {name.strip()}" if section in SECTIONS and key in attrs.fields_dict(SECTIONS[section]) else ""
            errors.append(f"--set{quoted}: write --set section.key=value")
            continue
        yield _Given("--set", section, key, _value(value.strip()))


def _value(text: str) -> Any:
    """A TOML value; a bare word is a string, and so is what cannot be read: it will do for no other kind of setting."""
    try:
        return _parsed(f"value = {text}")["value"]
    except ValueError:
        return text


def _take(given: _Given, values: dict[str, dict[str, Any]], errors: list[str]) -> None:
    name = f"{given.where}: {_word(given.section)}.{_word(given.key)}"
    section = SECTIONS.get(given.section)
    if section is None:
        errors.append(f"{name}: no such section; did you mean [{_nearest(given.section, SECTIONS)}]?")
        return
    fields = attrs.fields_dict(section)
    if given.key not in fields:
        errors.append(f"{name}: no such setting; did you mean {given.section}.{_nearest(given.key, fields)}?")
        return
    metadata = fields[given.key].metadata
    try:
        value = _typed(given.value, get_type_hints(section)[given.key])
        RULES[metadata["check"]](value)
    except _WrongKind as error:
        errors.append(f"{name}: {error.kind if metadata['secret'] else brief(error.value)} is not {error.wanted}")
        return
    except ValueError as error:
        errors.append(f"{name}: {error}")
        return
    values[given.section][given.key] = value


def _word(name: str) -> str:
    """A name that somebody gave to a setting, as an error quotes it: in one line."""
    return name if _PLAIN.fullmatch(name) else brief(name)


def _where(path: str) -> str:
    """A file, as an error names it: in one line."""
    return brief(path) if _UNPRINTABLE.search(path) else path


def _nearest(word: str, words: Iterable[str]) -> str:
    known = list(words)
    return (get_close_matches(word[:64], known, 1, 0) or known)[0]


class _WrongKind(Exception):
    """A value is of another kind than its setting."""

    def __init__(self, value: Any, wanted: str) -> None:
        super().__init__(wanted)
        self.value = value
        self.wanted = wanted

    @property
    def kind(self) -> str:
        """What the value is, without saying it."""
        return _WORDS.get(type(self.value), "what was given")


def _typed(value: Any, kind: Any) -> Any:
    """
    The value of a setting of this kind.

    :raises _WrongKind: it is of another.
    :raises ValueError: it is none that could be used; the message does not quote it.
    """
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    if isinstance(kind, GenericAlias) and kind.__origin__ is tuple:
        return _tuple(value, get_args(kind)[0])
    if isinstance(kind, GenericAlias):
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise _WrongKind(value, 'a table of strings; write {name = "secret"}')
        return {name: _text(text) for name, text in value.items()}
    if kind is float and type(value) in (int, float):
        return _float(value)
    if type(value) is not kind:
        raise _WrongKind(value, _WORDS[kind])
    return _text(value) if kind is str else value


def _float(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _WrongKind(value, "a finite number")
    return number


def _text(value: str) -> str:
    """A string that can be a file's name, a header's value and a line of a log."""
    if len(value) > CHARACTERS:
        raise ValueError(f"it has more than {CHARACTERS} characters")
    if _UNPRINTABLE.search(value):
        raise ValueError("it has a control character in it, or is not UTF-8")
    return value


def _tuple(value: Any, kind: Any) -> Any:
    if not isinstance(value, list):
        raise _WrongKind(value, "a list")
    if kind in (int, str):
        return tuple(_typed(each, kind) for each in value)
    upstreams = []
    for each in value:
        if not isinstance(each, dict) or not {"http"} <= set(each) <= {"http", "rtmp"}:
            raise ValueError('an upstream is {http = "http://HOST:PORT", rtmp = "rtmp://HOST:PORT"}')
        upstreams.append(Upstream(**{key: _typed(url, str) for key, url in each.items()}))
    return tuple(upstreams)


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def _inconsistencies(config: Config) -> list[str]:
    """What is wrong with settings that are right by themselves."""
    lines, role = [], config.role
    if role != "all" and not config.bus.redis:
        lines.append(f'bus.redis: missing, and role {role} needs it; write redis = "redis://127.0.0.1:6379/0"')
    if role in ("origin", "edge") and not getattr(config, role).upstreams and not config.cluster.secret:
        right = '[{http = "http://HOST:PORT", rtmp = "rtmp://HOST:PORT"}]'
        lines.append(f"{role}.upstreams: missing; write upstreams = {right}")
    if role in ("all", "ingest") and not config.ingest.keys and not endpoints.parse(config.ingest.rtmp).is_loopback:
        lines.append(
            'ingest.rtmp: anyone who reaches this port could publish; write [ingest.keys] with "*" = "A-SECRET", '
            "or listen on tcp:1935:interface=127.0.0.1"
        )
    return lines + _proxy_inconsistencies(config) + _cluster_inconsistencies(config)


def _proxy_inconsistencies(config: Config) -> list[str]:
    lines = []
    for section in ("edge", "ingest"):
        endpoints = {"edge": ("http", "rtmp"), "ingest": ("rtmp",)}[section]
        values = getattr(config, section)
        if values.proxy_protocol and config.role in ("all", section):
            if not config.cluster.trusted_proxies:
                lines.append(f'{section}.proxy_protocol: from whom? write cluster.trusted_proxies = ["10.0.0.1/32"]')
            lines += [
                f"{section}.{key}: a PROXY header comes before TLS, and is not read on ssl:; have the proxy end TLS"
                for key in endpoints
                if getattr(values, key).startswith("ssl:")
            ]
    return lines


def _cluster_inconsistencies(config: Config) -> list[str]:
    lines, node = [], config.node
    if (node.latitude is None) != (node.longitude is None):
        lines.append("node.latitude, node.longitude: one without the other; write both, or node.region alone")
    if config.cluster.secret:
        if not config.bus.redis and config.role == "all":
            lines.append('bus.redis: missing, and a cluster needs it; write redis = "redis://127.0.0.1:6379/0"')
        if not node.id:
            lines.append('node.id: missing, and cluster.secret is set; write id = "NAME", another on every node')
        if not node.http:
            lines.append('node.http: missing, and cluster.secret is set; write http = "http://HOST:PORT"')
    return lines


def _printed(setting: attrs.Attribute[Any], value: Any) -> str:
    line = f"{setting.name} = {_toml(value)}"
    if not setting.metadata["secret"] or not value:
        return line
    shown = setting.metadata["shown"]
    if shown is None:
        return f"# {setting.name}: not shown"
    without = shown(value)
    return line if without == value else f"# {setting.name} = {_toml(without)}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Upstream):
        return f'{{http = "{value.http}", rtmp = "{value.rtmp}"}}'
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)
