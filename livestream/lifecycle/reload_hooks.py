"""How new values of settings are applied while the process runs: what follows them, and what they change."""

from __future__ import annotations

from collections.abc import Callable

from livestream.cache.store import Store
from livestream.cluster.edge_selection import EdgeSelection
from livestream.cluster.upstream_selection import UpstreamSelection
from livestream.config import Config
from livestream.hls.beginnings import Beginnings
from livestream.hls.steering import Steering
from livestream.http.client_address import TrustedProxies
from livestream.http.limits import HttpLimits
from livestream.http.site import HttpSite
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import PublishAdmission
from livestream.lifecycle.derived import (
    access_log,
    exempt,
    geography,
    http_limits,
    ops_limits,
    push_limits,
    relay_rule,
    rtmp_limits,
)
from livestream.lifecycle.drain import Drain
from livestream.lifecycle.reload import Reloader
from livestream.net.address_limiter import AddressLimiter
from livestream.net.address_limits import AddressLimits, Networks
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.ops.admission import OpsAdmission, host_names
from livestream.push.feeds import Feeds
from livestream.push.relay_admission import RelayAdmission, RelayRule
from livestream.settings import Upstream
from livestream.signing import Credentials


def reload_http(reloader: Reloader, site: HttpSite, steering: Steering, beginnings: Beginnings) -> None:
    """New limits hold for new connections, and for requests that begin to wait."""

    def limits(new: HttpLimits) -> None:
        site.limits = new

    def proxies(new: TrustedProxies) -> None:
        site.proxies = steering.proxies = new

    def waiting(new: int) -> None:
        beginnings.limit = new

    reloader.follow(http_limits, limits)
    reloader.follow(lambda config: config.limits.waiting_requests, waiting)
    reloader.follow(lambda config: TrustedProxies.of(config.cluster.trusted_proxies), proxies)


def reload_access_log(reloader: Reloader, site: HttpSite) -> None:
    """New connections write to the new access log."""

    def access(_: str) -> None:
        if site.access is not None:
            site.access.flush()
        site.access = access_log(reloader.config, site.clock)

    reloader.follow(lambda config: config.edge.access_log, access)


def reload_ops(reloader: Reloader, site: HttpSite, admission: OpsAdmission) -> None:
    def limits(new: HttpLimits) -> None:
        site.limits = new

    def admit(new: tuple[frozenset[str], str]) -> None:
        admission.hosts, admission.token = new

    reloader.follow(ops_limits, limits)
    reloader.follow(lambda config: (host_names(config.ops.hosts), config.ops.token), admit)


def limit_addresses(
    reloader: Reloader,
    addresses: AddressLimiter,
    limits_of: Callable[[Config], AddressLimits],
    expects_headers: Callable[[Config], bool],
) -> None:
    """
    Limit what one address may have at a listener, now and when the settings change.

    ``expects_headers`` says whether trusted proxies begin their connections with a header of the PROXY protocol. New
    limits hold for new connections.
    """

    def value(config: Config) -> tuple[AddressLimits, Networks]:
        return limits_of(config), Networks.of(config.cluster.trusted_proxies if expects_headers(config) else ())

    def take(new: tuple[AddressLimits, Networks]) -> None:
        addresses.connections.limits, addresses.proxies = new

    take(value(reloader.config))
    reloader.follow(value, take)


def reload_rtmp(reloader: Reloader, factory: RtmpServerFactory) -> None:
    """New limits hold for new connections."""

    def limits(new: RtmpLimits) -> None:
        factory.limits = new

    reloader.follow(rtmp_limits, limits)


def reload_relays(reloader: Reloader, relays: RelayAdmission, credentials: Credentials) -> None:
    """Relays that play go on, even if the new rule would refuse them."""

    def rule(new: RelayRule) -> None:
        relays.rule = new

    reloader.follow(lambda config: relay_rule(config, credentials), rule)


def reload_push_limits(reloader: Reloader, feeds: Feeds) -> None:
    """New limits hold for new viewers; how a feed is framed stays the same for all of its viewers."""

    reloader.follow(push_limits, feeds.renew)


def reload_publish_admission(reloader: Reloader, admission: PublishAdmission) -> None:
    """Publishers that are connected go on, even if their key is wrong by now."""

    def keys(new: dict[str, str]) -> None:
        admission.keys = PublishKeys(new)

    def limit(new: int) -> None:
        admission.limit = new

    def tries(config: Config) -> tuple[int, Networks]:
        return config.limits.refused_publishes_per_address, exempt(config)

    def take_tries(new: tuple[int, Networks]) -> None:
        admission.wrong_keys.limit, admission.wrong_keys.exempt = new

    take_tries(tries(reloader.config))
    reloader.follow(tries, take_tries)
    reloader.follow(lambda config: config.ingest.keys, keys)
    reloader.follow(lambda config: config.ingest.max_publishers, limit)


def reload_store_limit(reloader: Reloader, store: Store) -> None:
    def limit(new: int) -> None:
        store.limit_bytes = new

    reloader.follow(lambda config: config.cache.limit_mb << 20, limit)


def reload_edge_upstreams(reloader: Reloader, selection: UpstreamSelection) -> None:
    def upstreams(new: tuple[Upstream, ...]) -> None:
        selection.fixed = new

    reloader.follow(lambda config: config.edge.upstreams, upstreams)


def reload_origin_upstreams(reloader: Reloader, selection: UpstreamSelection) -> None:
    def upstreams(new: tuple[Upstream, ...]) -> None:
        selection.fixed = new

    reloader.follow(lambda config: config.origin.upstreams, upstreams)


def reload_geography(reloader: Reloader, edges: EdgeSelection) -> None:
    """The database is read at every reload: its file may have been replaced."""

    def places(new: Config) -> None:
        edges.geography = geography(new)

    reloader.check_first(places)


def reload_drain_limit(reloader: Reloader, draining: Drain) -> None:
    def limit(new: float) -> None:
        draining.limit_s = new

    reloader.follow(lambda config: config.cluster.drain_s, limit)
