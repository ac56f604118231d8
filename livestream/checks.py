"""
The checks of single settings.

Each check raises ValueError for an invalid value; the message quotes it, unless it may be a secret, and says what is
valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from livestream import endpoints
from livestream.model.names import NODE
from livestream.urls import check_redis, split_authority, split_url

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
"""Those of x264."""
MOST = 1_000_000_000
"""No number that counts or measures something is larger, so that timers and sockets can take it."""
QUOTED = 80
"""An error quotes at most this many characters of a value."""


def brief(value: object) -> str:
    """A value as an error quotes it: in one line, and not at length."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number with thousands of digits"
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def _require(condition: bool, words: str) -> None:
    if not condition:
        raise ValueError(words)


def between(least: float, most: float, unit: str = "") -> Callable[[Any], None]:
    def check(value: float) -> None:
        _require(least <= value <= most, f"{brief(value)} is out of range: {least} to {most}{unit}")

    return check


def positive(value: float) -> None:
    _require(value > 0, f"{brief(value)} is not above 0")
    _require(value <= MOST, f"{brief(value)} is above {MOST}")


def not_negative(value: float) -> None:
    _require(value >= 0, f"{brief(value)} is below 0")
    _require(value <= MOST, f"{brief(value)} is above {MOST}")


def one_of(words: Sequence[str]) -> Callable[[str], None]:
    return lambda value: _require(value in words, f"{brief(value)} is not one of {', '.join(words)}")


def endpoint(value: str) -> None:
    try:
        endpoints.parse(value)
    except ValueError as error:
        raise ValueError(f"{brief(value)}: {error}") from None


def _url(value: str, schemes: Iterable[str], words: str, *, needs_port: bool = False) -> None:
    try:
        scheme, _, port = split_url(value)
    except ValueError as error:
        raise ValueError(f"{brief(value)}: {words} ({error})") from None
    _require(scheme in schemes and not (needs_port and port is None), f"{brief(value)}: {words}")


def http_url(value: str) -> None:
    _url(value, ("http",), "write http://HOST:PORT")


def rtmp_url(value: str) -> None:
    if value:
        _url(value, ("rtmp",), "write rtmp://HOST:PORT", needs_port=True)


def public_url(value: str) -> None:
    """Viewers may come through a proxy that speaks TLS."""
    if value:
        _url(value, ("http", "https"), "write http://HOST:PORT")


def hosts(value: Sequence[str]) -> None:
    for each in value:
        try:
            port = split_authority(each)[1]
        except ValueError:
            port = 0
        _require(port is None and not each.endswith(":"), f"{brief(each)}: write a host name, without a port")


def networks(value: Sequence[str]) -> None:
    for each in value:
        try:
            ip_network(each)
        except ValueError:
            raise ValueError(f"{brief(each)}: write a network such as 10.0.0.0/8") from None


def redis_url(value: str) -> None:
    if value:
        check_redis(value)


def ladder(value: Sequence[int]) -> None:
    is_falling = list(value) == sorted(set(value), reverse=True)
    is_sane = all(100 <= height <= 2160 and height % 2 == 0 for height in value)
    heights = f"[{', '.join(map(brief, value[:10]))}]"
    _require(is_falling and is_sane, f"{heights}: write even heights from 100 to 2160, highest first")


def name(value: str) -> None:
    is_name = not value or re.fullmatch(NODE, value) is not None
    _require(is_name, f"{brief(value)}: write at most 64 letters, digits, '.', '_' and '-'")


# The messages for secrets do not quote the value: they are logged.


def publishing_keys(value: Mapping[str, str]) -> None:
    _require(all(len(secret) >= 8 for secret in value.values()), "a publishing key needs at least 8 characters")


def cluster_secret(value: str) -> None:
    _require(not value or len(value) >= 16, "the secret needs at least 16 characters")


def token(value: str) -> None:
    is_token = not value or re.fullmatch(r"[\x21-\x7e]{16,}", value) is not None
    _require(is_token, "the token needs at least 16 characters of printable ASCII, without spaces")


def anything(_: object) -> None:
    """Any value will do."""
