"""What parts make of their settings, and how they take new values of those that can change while the node runs."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from livestream.cache.store import Store
from livestream.cluster.edge_selection import EdgeGuide
from livestream.cluster.geography import Geography
from livestream.cluster.upstream_selection import Choice
from livestream.config import Config
from livestream.hls.steering import Steer
from livestream.http.access_log import AccessLog
from livestream.http.client_address import Proxies
from livestream.http.limits import ChannelLimits, HeadLimits, HttpLimits
from livestream.http.site import HttpSite
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import PublishDoor
from livestream.lifecycle.drain import Drain
from livestream.lifecycle.reload import Reloading
from livestream.net.address_limiter import AddressLimiter
from livestream.net.address_limits import AddressLimits, Networks
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.ops.admission import OpsAdmission, host_names
from livestream.push.feed import PushLimits
from livestream.push.feeds import Feeds
from livestream.push.relay_admission import NearRelays, RelayAdmission, RelayRule, SignedRelays
from livestream.signing import Credentials

OPS_CONNECTIONS = 200
"""So many connections to the operations port are served at once."""

ADDRESS_LIMITS = (
    "limits.connections_per_address",
    "limits.connects_per_address",
    "limits.rtmp_connections_per_address",
    "limits.rtmp_connects_per_address",
    "limits.exempt",
    "limits.relays_from",
    "cluster.trusted_proxies",
    "edge.proxy_protocol",
    "ingest.proxy_protocol",
)
"""What the limits of one address at a listener are made of."""


def http_limits(config: Config) -> HttpLimits:
    limits = config.limits
    channel = ChannelLimits(
        HeadLimits(), limits.header_s, stall_s=limits.stall_s, send_buffer_bytes=limits.send_buffer_kb << 10
    )
    return HttpLimits(limits.connections, channel)


def ops_limits(config: Config) -> HttpLimits:
    """Whoever watches a node is counted apart from viewers, and is served when there is no room for more of those."""
    return evolve(http_limits(config), connections=OPS_CONNECTIONS)


def rtmp_limits(config: Config) -> RtmpLimits:
    return RtmpLimits(connections=config.limits.rtmp_connections)


def exempt(config: Config, *more: str) -> Networks:
    """Who has no limit per address."""
    return Networks.of([*config.limits.exempt, *config.cluster.trusted_proxies, *more])


def http_address_limits(config: Config) -> AddressLimits:
    limits = config.limits
    return AddressLimits(limits.connections_per_address, limits.connects_per_address, exempt(config))


def rtmp_address_limits(config: Config) -> AddressLimits:
    """Those of an ingest let relays in: an origin has a connection for each rendition that is watched."""
    limits = config.limits
    networks = exempt(config, *(limits.relays_from if config.role == "ingest" else ()))
    return AddressLimits(limits.rtmp_connections_per_address, limits.rtmp_connects_per_address, networks)


def push_limits(config: Config) -> PushLimits:
    push, limits = config.push, config.limits
    return PushLimits(
        push.tick_ms, push.chunk_bytes, push.slow_bytes, push.slow_s, push.wait_s, push.linger_s, limits.stall_s,
        waiting_players=limits.waiting_players, unknown_names_per_s=limits.unknown_names_per_s,
    )  # fmt: skip


def relay_rule(config: Config, credentials: Credentials) -> RelayRule:
    return SignedRelays(credentials) if credentials.secret else NearRelays.of(config.limits.relays_from)


def access_log(config: Config, clock: IReactorTime) -> AccessLog | None:
    return AccessLog(config.edge.access_log, clock) if config.edge.access_log else None


def geography(config: Config) -> Geography | None:
    """
    The database of places, if there is to be one.

    :raises ConfigError: it cannot be read.
    """
    if not config.cluster.geo_database:
        return None
    known = Geography(config.cluster.geo_database)
    known.load()
    return known


def renew_http(reloading: Reloading, site: HttpSite, steer: Steer) -> None:
    """New limits are those of connections that come from then on."""

    def limits(new: Config) -> None:
        site.limits = http_limits(new)

    def proxies(new: Config) -> None:
        site.proxies = steer.proxies = Proxies.of(new.cluster.trusted_proxies)

    for key in ("connections", "header_s", "stall_s", "send_buffer_kb"):
        reloading.when(f"limits.{key}", limits)
    reloading.when("cluster.trusted_proxies", proxies)


def renew_access_log(reloading: Reloading, site: HttpSite) -> None:
    """Another access log is that of connections that come from then on."""

    def access(new: Config) -> None:
        if site.access is not None:
            site.access.flush()
        site.access = access_log(new, site.clock)

    reloading.when("edge.access_log", access)


def renew_ops(reloading: Reloading, site: HttpSite, admission: OpsAdmission) -> None:
    def limits(new: Config) -> None:
        site.limits = ops_limits(new)

    def hosts(new: Config) -> None:
        admission.hosts = host_names(new.ops.hosts)

    def token(new: Config) -> None:
        admission.token = new.ops.token

    for key in ("header_s", "stall_s", "send_buffer_kb"):
        reloading.when(f"limits.{key}", limits)
    reloading.when("ops.hosts", hosts)
    reloading.when("ops.token", token)


def allow_address_limits(reloading: Reloading) -> None:
    """A change of them takes no restart, even where no listener has one."""
    for name in (*ADDRESS_LIMITS, "limits.refused_publishes_per_address"):
        if name.startswith("limits."):
            reloading.when(name, lambda _: None)


def limit_addresses(
    reloading: Reloading,
    addresses: AddressLimiter,
    limits_of: Callable[[Config], AddressLimits],
    expects_headers: Callable[[Config], bool],
) -> None:
    """
    Limit what one address may have at a listener, now and when the settings change.

    ``expects_headers`` says whether trusted proxies begin their connections with a header of the PROXY protocol. New
    limits are those of connections that come from then on.
    """

    def limits(new: Config) -> None:
        addresses.connections.limits = limits_of(new)
        addresses.proxies = Networks.of(new.cluster.trusted_proxies if expects_headers(new) else ())

    limits(reloading.config)
    for name in ADDRESS_LIMITS:
        reloading.when(name, limits)


def renew_rtmp(reloading: Reloading, factory: RtmpServerFactory) -> None:
    """New limits are those of connections that come from then on."""

    def limits(new: Config) -> None:
        factory.limits = rtmp_limits(new)

    reloading.when("limits.rtmp_connections", limits)


def renew_relays(reloading: Reloading, relays: RelayAdmission, credentials: Credentials) -> None:
    """Relays that play go on, even if they would not be let in any more."""

    def networks(new: Config) -> None:
        relays.rule = relay_rule(new, credentials)

    reloading.when("limits.relays_from", networks)


def renew_feeds(reloading: Reloading, feeds: Feeds) -> None:
    """New limits are those of viewers who come from then on; a feed is framed in one way for all of its viewers."""

    def limits(new: Config) -> None:
        framed = feeds.limits
        feeds.renew(evolve(push_limits(new), tick_ms=framed.tick_ms, chunk_bytes=framed.chunk_bytes))

    for key in ("slow_bytes", "slow_s", "wait_s", "linger_s"):
        reloading.when(f"push.{key}", limits)
    for key in ("waiting_players", "unknown_names_per_s", "stall_s"):
        reloading.when(f"limits.{key}", limits)


def renew_door(reloading: Reloading, door: PublishDoor) -> None:
    """Who publishes goes on, even if its key is right no more."""

    def keys(new: Config) -> None:
        door.keys = PublishKeys(new.ingest.keys)

    def limit(new: Config) -> None:
        door.limit = new.ingest.max_publishers

    def tries(new: Config) -> None:
        door.wrong_keys.limit, door.wrong_keys.exempt = new.limits.refused_publishes_per_address, exempt(new)

    tries(reloading.config)
    for name in ("limits.refused_publishes_per_address", "limits.exempt", "cluster.trusted_proxies"):
        reloading.when(name, tries)
    reloading.when("ingest.keys", keys)
    reloading.when("ingest.max_publishers", limit)


def renew_store(reloading: Reloading, store: Store) -> None:
    def limit(new: Config) -> None:
        store.limit_bytes = new.cache.limit_mb << 20

    reloading.when("cache.limit_mb", limit)


def renew_edge_upstreams(reloading: Reloading, choice: Choice) -> None:
    def upstreams(new: Config) -> None:
        choice.fixed = new.edge.upstreams

    reloading.when("edge.upstreams", upstreams)


def renew_origin_upstreams(reloading: Reloading, choice: Choice) -> None:
    def upstreams(new: Config) -> None:
        choice.fixed = new.origin.upstreams

    reloading.when("origin.upstreams", upstreams)


def renew_guide(reloading: Reloading, guide: EdgeGuide) -> None:
    """The database is read again each time, for it may be another behind the same path."""

    def places(new: Config) -> None:
        guide.geography = geography(new)

    reloading.first("cluster.geo_database", places)


def renew_draining(reloading: Reloading, draining: Drain) -> None:
    def limit(new: Config) -> None:
        draining.limit_s = new.cluster.drain_s

    reloading.when("cluster.drain_s", limit)
