"""Configuration: arbitrary files, environments and ``--set`` options, and the addresses in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock

from livestream.bus.redis_connection import RedisAddress, is_local
from livestream.config import PREFIX, ROLES, SETTINGS, Config, ConfigError, load
from livestream.endpoints import parse
from livestream.settings import Upstream
from livestream.urls import check_redis, split_authority, split_url, without_password
from tests.fuzz.choices import Choices

PATH = "livestream.toml"
SEPARATOR = "\x1e"
LONGEST_LINE = 500
LONGEST_WORD = 64
"""A shorter secret may be part of the file by coincidence."""


def addresses(data: bytes) -> None:
    """Any text is either rejected, or a host, URL, Redis URL or endpoint that its consumer reads the same way."""
    text = data.decode("utf-8", "replace")
    with suppress(ValueError):
        _check_host(text, *split_authority(text))
    with suppress(ValueError):
        _, host, port = split_url(text)
        _check_host(text.partition("://")[2], host, port)
    try:
        check_redis(text)
    except ValueError:
        pass
    else:
        RedisAddress.of(text, MemoryReactorClock())
        assert is_local(text) in (True, False)
        password = None if text.startswith("unix:") else urlsplit(text).password
        assert without_password(text)
        assert not password or len(password) < LONGEST_WORD or password not in without_password(text)
    _check_endpoint(text)


def _check_host(authority: str, host: str, port: int | None) -> None:
    """The standard library finds the same host and port."""
    parts = urlsplit(f"http://{authority}")
    try:
        expected = str(ip_address(parts.hostname or ""))
    except ValueError:
        expected = (parts.hostname or "").removesuffix(".")
    assert (host, port) == (expected, parts.port), (authority, host, port)


def _check_endpoint(text: str) -> None:
    """Twisted accepts the endpoint too."""
    try:
        endpoint = parse(text)
    except ValueError as error:
        assert len(str(error)) < LONGEST_LINE
        return
    if endpoint.kind in ("tcp", "tcp6", "unix"):
        listening = serverFromString(MemoryReactorClock(), text)
        assert endpoint.kind == "unix" or listening._port == int(endpoint.port)
        assert endpoint.is_loopback in (True, False)


def configuration(data: bytes) -> None:
    """
    Any text is a configuration that survives a round trip through its own file, or every error is one line.

    Input: role, then strings between separators: the file, ``--set`` options, and environment variables.
    """
    choices = Choices(data)
    role = choices.pick((*ROLES, "other"))
    text, *more = choices.rest().decode("utf-8", "replace").split(SEPARATOR)
    sets = [each for each in more if not each.startswith(PREFIX)]
    pairs = (each.partition("=") for each in more if each.startswith(PREFIX))
    environ = {name: value for name, _, value in pairs}
    try:
        config = load(role, PATH, environ, sets, lambda _: text)
    except ConfigError as error:
        assert error.lines
        for line in error.lines:
            assert len(line) <= LONGEST_LINE and line.splitlines() == [line], line[:LONGEST_LINE]
        return
    assert role in ROLES
    _check_values(config)
    _check_round_trip(config)


def _check_values(config: Config) -> None:
    """Accepted values can be used."""
    for value in _values(config):
        assert not isinstance(value, float) or isfinite(value), value
        assert not isinstance(value, int) or abs(value) < 1 << 63, value
        if isinstance(value, Upstream):
            assert urlsplit(value.http).hostname and urlsplit(value.http).port != 0
    if config.bus.redis:
        RedisAddress.of(config.bus.redis, MemoryReactorClock())
        is_local(config.bus.redis)


def _values(config: Config) -> Iterator[Any]:
    for name in SETTINGS:
        value = config.get(name)
        if isinstance(value, tuple):
            yield from value
        else:
            yield value


def _check_round_trip(config: Config) -> None:
    """The printed file gives the same configuration, apart from secrets, which it does not contain."""
    text = config.to_toml()
    shown = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not any(secret in shown for secret in config.ingest.keys.values() if len(secret) > LONGEST_WORD)
    # Settings that require a key or a secret get one, for the file has none.
    sets = ['ingest.keys={"*"="0123456789abcdef"}', f'cluster.secret="{"s" * 16 if config.cluster.secret else ""}"']
    if config.bus.redis:
        sets.append(f"bus.redis={_toml_string(config.bus.redis)}")
    again = load(config.role, PATH, {}, sets, lambda _: text)
    assert _without_secrets(again) == _without_secrets(config)


def _toml_string(text: str) -> str:
    return '"' + "".join(f"\\u{ord(each):04x}" if each in '"\\' else each for each in text) + '"'


def _without_secrets(config: Config) -> Config:
    return evolve(config, ingest=evolve(config.ingest, keys={}), cluster=evolve(config.cluster, secret=""))
