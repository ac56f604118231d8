"""What the value of a setting must be like, rule by rule; each says what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from livestream.settings import Upstream


def _require(condition: bool, words: str) -> None:
    if not condition:
        raise ValueError(words)


def _endpoint(value: str) -> None:
    kind, _, rest = value.partition(":")
    known = kind in ("tcp", "tcp6", "ssl", "unix", "systemd")
    _require(known, f"{value!r}: write tcp:PORT or tcp:PORT:interface=ADDRESS")
    if kind in ("tcp", "tcp6", "ssl"):
        port = rest.partition(":")[0]
        _require(port.isdigit() and int(port) < 65536, f"{value!r}: a port is a number up to 65535")


def _upstreams(value: Sequence[Upstream]) -> None:
    for each in value:
        _require(re.fullmatch(r"http://[^/\s]+", each.http) is not None, f"{each.http!r}: write http://HOST:PORT")
        is_rtmp = not each.rtmp or re.fullmatch(r"rtmp://[^/\s]+:[0-9]+", each.rtmp) is not None
        _require(is_rtmp, f"{each.rtmp!r}: write rtmp://HOST:PORT")


def _redis(value: str) -> None:
    is_known = not value or re.match(r"redis://|unix:", value) is not None
    _require(is_known, f"{value!r}: write redis://HOST:PORT/DB or unix:PATH")


def _ladder(value: Sequence[int]) -> None:
    is_falling = list(value) == sorted(set(value), reverse=True)
    is_sane = all(100 <= height <= 2160 and height % 2 == 0 for height in value)
    _require(is_falling and is_sane, f"{list(value)}: even heights from 100 to 2160, highest first")


def _name(value: str) -> None:
    _require(re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", value) is not None, f"{value!r}: letters, digits, '.', '_' and '-'")


def _keys(value: Mapping[str, str]) -> None:
    _require(all(len(secret) >= 8 for secret in value.values()), "a publishing key has 8 characters or more")


def _anything(_: object) -> None:
    """Any value will do."""


RULES: dict[str, Callable[[Any], None]] = {
    "": _anything,
    "endpoint": _endpoint,
    "upstreams": _upstreams,
    "redis": _redis,
    "positive": lambda value: _require(value > 0, f"{value} is not above 0"),
    "not negative": lambda value: _require(value >= 0, f"{value} is below 0"),
    "segment": lambda value: _require(1 <= value <= 10, f"{value} is not from 1 to 10 seconds"),
    "window": lambda value: _require(3 <= value <= 60, f"{value} is not from 3 to 60 segments"),
    "chunk": lambda value: _require(128 <= value <= 65536, f"{value} is not from 128 to 65536 bytes"),
    "ladder": _ladder,
    "name": _name,
    "keys": _keys,
}
