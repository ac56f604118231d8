"""
The configuration: TOML, the environment and ``--set``, read into frozen sections.

All that is wrong with it is found at once, and each thing is one line: where it stands, which key, and what would be
right.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from types import GenericAlias, UnionType
from typing import Any, get_args, get_type_hints

import attrs
from attrs import field, frozen

from livestream.rules import RULES
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
SECRET = ("keys", "secret")


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
        """What is in force, as a file that would give it. Secrets are left out."""
        lines = [f"# role: {self.role}"]
        for name, section in SECTIONS.items():
            lines += ["", f"[{name}]"]
            values = getattr(self, name)
            for each in attrs.fields(section):
                value = getattr(values, each.name)
                if each.name in SECRET and value:
                    lines.append(f"# {each.name}: not shown")
                elif value != {} and value is not None:
                    lines.append(f"{each.name} = {_toml(value)}")
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
        errors.append(f"--role: {role} is none of {', '.join(ROLES)}")
    if not errors:
        config = Config(role, **{name: SECTIONS[name](**values[name]) for name in SECTIONS})
        errors += [f"{path or 'configuration'}: {line}" for line in _inconsistencies(config)]
    if errors:
        raise ConfigError(errors)
    return config


def _from_file(path: str | None, read: Callable[[str], str], errors: list[str]) -> Iterable[_Given]:
    if path is None:
        return
    try:
        tables = tomllib.loads(read(path))
    except OSError as error:
        errors.append(f"{path}: cannot be read: {error.strerror or error}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        errors.append(f"{path}: not TOML: {error}")
        return
    for section, table in tables.items():
        if not isinstance(table, dict):
            errors.append(f"{path}: {section}: a key outside a section; write it under [{_nearest(section, SECTIONS)}]")
            continue
        for key, value in table.items():
            yield _Given(path, section, key, value)


def _from_environ(environ: Mapping[str, str]) -> Iterable[_Given]:
    for name, text in sorted(environ.items()):
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if name.startswith(PREFIX) and section in SECTIONS:
            yield _Given(name, section, key, _value(text))


def _from_sets(sets: Sequence[str], errors: list[str]) -> Iterable[_Given]:
    for text in sets:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            errors.append(f"--set {text}: write --set section.key=value")
            continue
        yield _Given("--set", section, key, _value(value.strip()))


def _value(text: str) -> Any:
    """A TOML value; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _take(given: _Given, values: dict[str, dict[str, Any]], errors: list[str]) -> None:
    name = f"{given.where}: {given.section}.{given.key}"
    section = SECTIONS.get(given.section)
    if section is None:
        errors.append(f"{name}: no such section; did you mean [{_nearest(given.section, SECTIONS)}]?")
        return
    fields = attrs.fields_dict(section)
    if given.key not in fields:
        errors.append(f"{name}: no such setting; did you mean {given.section}.{_nearest(given.key, fields)}?")
        return
    try:
        value = _typed(given.value, get_type_hints(section)[given.key])
        RULES[fields[given.key].metadata["check"]](value)
    except ValueError as error:
        errors.append(f"{name}: {error}")
        return
    values[given.section][given.key] = value


def _nearest(word: str, words: Iterable[str]) -> str:
    known = list(words)
    return (get_close_matches(word, known, 1, 0) or known)[0]


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, GenericAlias) and kind.__origin__ is tuple:
        return _tuple(value, get_args(kind)[0])
    if isinstance(kind, GenericAlias):
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise ValueError(f'{value!r} is no table of texts; write {{name = "secret"}}')
        return value
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not {_WORDS[kind]}")
    return value


def _tuple(value: Any, kind: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    if kind in (int, str):
        return tuple(_typed(each, kind) for each in value)
    upstreams = []
    for each in value:
        if not isinstance(each, dict) or not {"http"} <= set(each) <= {"http", "rtmp"}:
            raise ValueError('an upstream is {http = "http://HOST:PORT", rtmp = "rtmp://HOST:PORT"}')
        upstreams.append(Upstream(**each))
    return tuple(upstreams)


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _inconsistencies(config: Config) -> list[str]:
    """What is wrong with settings that are right by themselves."""
    lines, role = [], config.role
    if role != "all" and not config.bus.redis:
        lines.append(f'bus.redis: missing, and role {role} needs it; write redis = "redis://127.0.0.1:6379/0"')
    if role in ("origin", "edge") and not getattr(config, role).upstreams and not config.cluster.secret:
        right = '[{http = "http://HOST:PORT", rtmp = "rtmp://HOST:PORT"}]'
        lines.append(f"{role}.upstreams: missing; write upstreams = {right}")
    if role in ("all", "ingest") and not config.ingest.keys and not _is_loopback(config.ingest.rtmp):
        lines.append(
            'ingest.rtmp: anyone who reaches this port could publish; write [ingest.keys] with "*" = "A-SECRET", '
            "or listen on tcp:1935:interface=127.0.0.1"
        )
    return lines + _cluster_inconsistencies(config)


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


def _is_loopback(endpoint: str) -> bool:
    if endpoint.startswith(("unix:", "systemd:")):
        return endpoint.startswith("unix:")
    found = re.search(r"interface=((?:\\.|[^:])+)", endpoint)
    try:
        return found is not None and ip_address(found[1].replace("\\", "")).is_loopback
    except ValueError:
        return found is not None and found[1] == "localhost"


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Upstream):
        return f'{{http = "{value.http}", rtmp = "{value.rtmp}"}}'
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)
