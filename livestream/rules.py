"""What the value of a setting must be like, rule by rule; each says what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from livestream.settings import Upstream

_HOST = r"[A-Za-z0-9._:\[\]-]{1,260}"
"""A host, with a port or without: nodes tell it to each other and to players, in files of many formats."""


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


def _http(value: str) -> None:
    _require(re.fullmatch(r"http://[^/\s]+", value) is not None, f"{value!r}: write http://HOST:PORT")


def _rtmp(value: str) -> None:
    is_rtmp = not value or re.fullmatch(rf"rtmp://{_HOST}:[0-9]{{1,5}}", value) is not None
    _require(is_rtmp, f"{value!r}: write rtmp://HOST:PORT")


def _public(value: str) -> None:
    """Viewers may come through a proxy that speaks TLS."""
    is_public = not value or re.fullmatch(rf"https?://{_HOST}", value) is not None
    _require(is_public, f"{value!r}: write http://HOST:PORT")


def _upstreams(value: Sequence[Upstream]) -> None:
    for each in value:
        _http(each.http)
        _rtmp(each.rtmp)


def _networks(value: Sequence[str]) -> None:
    for each in value:
        try:
            ip_network(each)
        except ValueError:
            raise ValueError(f"{each!r}: write a network such as 10.0.0.0/8") from None


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
    "public url": _public,
    "rtmp url": _rtmp,
    "networks": _networks,
    "capacity": lambda value: _require(0.001 <= value <= 1e15, f"{value} is not from 0.001 to 1e15"),
    "latitude": lambda value: _require(-90 <= value <= 90, f"{value} is not from -90 to 90 degrees"),
    "longitude": lambda value: _require(-180 <= value <= 180, f"{value} is not from -180 to 180 degrees"),
    "secret": lambda value: _require(not value or len(value) >= 16, "a cluster's secret has 16 characters or more"),
}
