"""Limits, networks and files, as they are derived from the settings: at the start, and at each reload."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from livestream.cluster.geography import Geography
from livestream.config import Config
from livestream.http.access_log import AccessLog
from livestream.http.limits import ConnectionLimits, HeadLimits, HttpLimits
from livestream.net.address_limits import AddressLimits, Networks
from livestream.net.rtmp.limits import RtmpLimits
from livestream.push.feed import PushLimits
from livestream.push.relay_admission import NearRelays, RelayRule, SignedRelays
from livestream.signing import Credentials

OPS_CONNECTIONS = 200
"""The operations port serves at most this many connections at once."""


def http_limits(config: Config) -> HttpLimits:
    limits = config.limits
    channel = ConnectionLimits(
        HeadLimits(), limits.header_s, stall_s=limits.stall_s, send_buffer_bytes=limits.send_buffer_kb << 10
    )
    return HttpLimits(limits.connections, channel)


def ops_limits(config: Config) -> HttpLimits:
    """Operators are counted apart from viewers, and are served when there is no room for more of those."""
    return evolve(http_limits(config), connections=OPS_CONNECTIONS)


def rtmp_limits(config: Config) -> RtmpLimits:
    return RtmpLimits(connections=config.limits.rtmp_connections)


def exempt(config: Config, *more: str) -> Networks:
    """The networks that have no limit per address."""
    return Networks.of([*config.limits.exempt, *config.cluster.trusted_proxies, *more])


def http_address_limits(config: Config) -> AddressLimits:
    limits = config.limits
    return AddressLimits(limits.connections_per_address, limits.connects_per_address, exempt(config))


def rtmp_address_limits(config: Config) -> AddressLimits:
    """An ingest exempts relays: an origin has a connection for each rendition that is watched."""
    limits = config.limits
    networks = exempt(config, *(limits.relays_from if config.role == "ingest" else ()))
    return AddressLimits(limits.rtmp_connections_per_address, limits.rtmp_connects_per_address, networks)


def push_limits(config: Config) -> PushLimits:
    """A viewer of the push has twice the send buffer of one over HTTP, who may be behind and fetch what is missing."""
    push, limits = config.push, config.limits
    return PushLimits(
        push.tick_ms, push.chunk_bytes, push.slow_bytes, push.slow_s, push.wait_s, push.linger_s, limits.stall_s,
        waiting_players=limits.waiting_players, unknown_names_per_s=limits.unknown_names_per_s,
        send_buffer_bytes=2 * (limits.send_buffer_kb << 10),
    )  # fmt: skip


def relay_rule(config: Config, credentials: Credentials) -> RelayRule:
    return SignedRelays(credentials) if credentials.secret else NearRelays.of(config.limits.relays_from)


def access_log(config: Config, clock: IReactorTime) -> AccessLog | None:
    return AccessLog(config.edge.access_log, clock) if config.edge.access_log else None


def geography(config: Config) -> Geography | None:
    """
    The geo database, if one is configured.

    :raises ConfigError: it cannot be read.
    """
    if not config.cluster.geo_database:
        return None
    known = Geography(config.cluster.geo_database)
    known.load()
    return known
