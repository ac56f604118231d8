"""
The configuration: TOML, the environment and ``--set``, read into frozen sections.

All errors are found at once, one line each: the source, the setting, and what to write.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from textwrap import wrap
from typing import Any, get_type_hints

import attrs
from attrs import field, frozen

from livestream import setting_types, settings
from livestream.checks import brief
from livestream.rules import inconsistencies
from livestream.setting_types import UNPRINTABLE, WrongType

ROLES = ("all", "ingest", "origin", "edge")
PREFIX = "LIVESTREAM_"
LINE = 100
"""A comment is no longer."""
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ConfigError(Exception):
    """An invalid configuration, with one line for each error."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@frozen
class Config:
    """An effective configuration."""

    role: str
    bus: settings.Bus = field(factory=settings.Bus)
    ingest: settings.Ingest = field(factory=settings.Ingest)
    origin: settings.Origin = field(factory=settings.Origin)
    edge: settings.Edge = field(factory=settings.Edge)
    ops: settings.Ops = field(factory=settings.Ops)
    hls: settings.Hls = field(factory=settings.Hls)
    push: settings.Push = field(factory=settings.Push)
    transcode: settings.Transcode = field(factory=settings.Transcode)
    cache: settings.Cache = field(factory=settings.Cache)
    limits: settings.Limits = field(factory=settings.Limits)
    node: settings.Node = field(factory=settings.Node)
    cluster: settings.Cluster = field(factory=settings.Cluster)

    def get(self, name: str) -> Any:
        """The value of a setting by its name, ``section.key``."""
        section, _, key = name.partition(".")
        return getattr(getattr(self, section), key)

    def replace(self, values: Mapping[str, Any]) -> Config:
        """The same with other values of some settings, by their names."""
        sections = {name: attrs.asdict(getattr(self, name), recurse=False) for name in SECTIONS}
        for name, value in values.items():
            section, _, key = name.partition(".")
            sections[section][key] = value
        return Config(self.role, **{name: SECTIONS[name](**sections[name]) for name in SECTIONS})

    def to_toml(self) -> str:
        """
        The effective configuration as a file, with the help text of each setting.

        Secrets are omitted: a setting that contains one is a comment.
        """
        lines, last = [f"# role: {self.role}"], ""
        for name, setting in SETTINGS.items():
            section = name.partition(".")[0]
            if section != last:
                lines += ["", f"[{section}]"]
                last = section
            restart = "" if setting.metadata["live"] else " (requires a restart)"
            lines += wrap(setting.metadata["help"] + restart, LINE, initial_indent="# ", subsequent_indent="# ")
            lines.append(_printed(setting, self.get(name)))
        return "\n".join(lines) + "\n"


SECTIONS: dict[str, type[Any]] = {name: kind for name, kind in get_type_hints(Config).items() if name != "role"}
SETTINGS: dict[str, attrs.Attribute[Any]] = {
    f"{section}.{each.name}": each
    for section, kind in SECTIONS.items()
    for each in attrs.fields(attrs.resolve_types(kind))
}
"""Every setting, as it is declared in `livestream.settings`, by its name."""


def changes(old: Config, new: Config) -> list[str]:
    """The names of the settings that have another value in ``new``."""
    return [name for name in SETTINGS if old.get(name) != new.get(name)]


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

    :raises ConfigError: it is invalid.
    """
    errors: list[str] = []
    given = [*_from_file(path, read, errors), *_from_environ(environ), *_from_sets(sets, errors)]
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for each in given:
        _take(each, values, errors)
    if role not in ROLES:
        errors.append(f"--role: {_word(role)} is not one of {', '.join(ROLES)}")
    if not errors:
        config = Config(role, **{name: SECTIONS[name](**values[name]) for name in SECTIONS})
        where = "configuration" if path is None else _where(path)
        errors += [f"{where}: {line}" for line in inconsistencies(config)]
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
        errors.append(f"{where}: invalid TOML: {error}")
        return
    for section, table in tables.items():
        if not isinstance(table, dict):
            nearest = _nearest(section, SECTIONS)
            errors.append(f"{where}: {_word(section)}: a key outside a section; move it under [{nearest}]")
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
        raise ValueError("a number has too many digits") from None


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
            quoted = f" {name.strip()}" if name.strip() in SETTINGS else ""
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
        value = setting_types.read(given.value, fields[given.key].type)
        metadata["check"](value)
    except WrongType as error:
        errors.append(f"{name}: {error.type if metadata['secret'] else brief(error.value)} is not {error.wanted}")
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
    return brief(path) if UNPRINTABLE.search(path) else path


def _nearest(word: str, words: Iterable[str]) -> str:
    known = list(words)
    return (get_close_matches(word[:64], known, 1, 0) or known)[0]


def _printed(setting: attrs.Attribute[Any], value: Any) -> str:
    if value is None:
        return f"# {setting.name}: not set"
    line = f"{setting.name} = {setting_types.write(value)}"
    if not setting.metadata["secret"] or not value:
        return line
    shown = setting.metadata["shown"]
    if shown is None:
        return f"# {setting.name}: not shown"
    without = shown(value)
    return line if without == value else f"# {setting.name} = {setting_types.write(without)}"
