"""What roles serve, each built from the settings: HLS and FLV over HTTP, RTMP, operations, and what is behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from twisted.web.resource import IResource

from livestream.cache.store import Key, Store
from livestream.cluster.edge_selection import EdgeSelection
from livestream.cluster.heartbeat import HeartbeatSender
from livestream.config import Config
from livestream.hls.beginnings import Beginnings
from livestream.hls.fast_path import HlsFastPath
from livestream.hls.lookup import Lookup
from livestream.hls.objects import Library, Objects
from livestream.hls.playlists import Playlists, Windows
from livestream.hls.routes import Hls, States, Takes
from livestream.hls.steering import Steering
from livestream.http.access_log import AccessLog
from livestream.http.client_address import TrustedProxies
from livestream.http.counters import RequestCounters
from livestream.http.prepared import PreparedResponses
from livestream.http.response import PRIVATE, ResponseFactory
from livestream.http.signatures import Signatures
from livestream.http.site import HttpSite, ReadOnly
from livestream.lifecycle.derived import geography, http_limits, ops_limits, push_limits, relay_rule, rtmp_limits
from livestream.lifecycle.process import Process
from livestream.lifecycle.reload_hooks import (
    reload_geography,
    reload_http,
    reload_ops,
    reload_push_limits,
    reload_relays,
    reload_rtmp,
    reload_store_limit,
)
from livestream.model.names import TAKE_PATH
from livestream.net.listeners import Listener
from livestream.net.rtmp.requests import Publishing
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.ops.admission import OpsAdmission, host_names
from livestream.ops.site import Ops, ops_site
from livestream.ops.streams import Source, described_all
from livestream.packaging.window import Window
from livestream.push.feeds import AvailabilityLookup, Feeds, FeedSource
from livestream.push.flv import FlvPush
from livestream.push.relay_admission import RelayAdmission
from livestream.push.rtmp import RtmpPlaying
from livestream.push.viewer_admission import ViewerAdmission
from livestream.roles.node import LocalNode

SWEEP_S = 0.5
STALL_LOOK_S = 1.0
HOLD_S = 5.0
"""Viewers of a cache that has just started wait for at most this long, instead of being told that it has nothing."""
LOOK_S = 0.05


class Streams(Protocol):
    """The streams of this node."""

    def window(self, stream: str) -> Window | None: ...
    def windows(self) -> list[Window]: ...


def object_store(config: Config, process: Process, node: LocalNode, streams: Streams) -> Store:
    """The objects of this node; those that no playlist can refer to any more are evicted."""

    def is_known(key: Key) -> bool:
        window = streams.window(key.stream)
        return window is not None and window.object_info(key.rendition, key.name) is not None

    def is_listed(key: Key) -> bool:
        window = streams.window(key.stream)
        return window is not None and window.is_listed(key.rendition, key.name)

    limit_bytes = config.cache.limit_mb << 20
    store = Store(limit_bytes, is_known, is_listed, process.reactor.seconds, node.metrics)
    reload_store_limit(process.reloader, store)
    process.every(SWEEP_S, store.sweep)
    return store


def push_feeds(
    config: Config,
    process: Process,
    node: LocalNode,
    source: FeedSource | None = None,
    known: AvailabilityLookup | None = None,
) -> Feeds:
    """The push, of what is live here and, with a ``source``, of what is ``known`` to be live elsewhere."""
    feeds = Feeds(push_limits(config), process.reactor, node.metrics, source, known)
    reload_push_limits(process.reloader, feeds)
    process.every(STALL_LOOK_S, feeds.close_stalled)
    return feeds


def edge_selection(config: Config, process: Process, node: LocalNode) -> EdgeSelection | None:
    """
    Which edge of the cluster a viewer is sent to; ``None`` without a cluster.

    :raises ConfigError: the geo database cannot be read.
    """
    if not config.cluster.secret:
        return None
    edges = EdgeSelection(node.name, node.members.nodes, geography(config))
    reload_geography(process.reloader, edges)
    return edges


def http_site(
    config: Config,
    process: Process,
    node: LocalNode,
    responses: ResponseFactory,
    windows: Windows,
    library: Library,
    *,
    edges: EdgeSelection | None,
    states: States | None = None,
    takes: Takes | None = None,
    flv: FlvPush | None = None,
    pages: IResource | None = None,
    access: AccessLog | None = None,
) -> HttpSite:
    """Serve playlists and objects; with ``flv`` the push as well, with ``states`` and ``takes`` what nodes ask."""
    reactor, counters = process.reactor, RequestCounters(node.metrics)
    playlists = Playlists(windows, responses, are_steered=edges is not None)
    beginnings = Beginnings(playlists, config.hls.segment_s, config.limits.waiting_requests, reactor, node.metrics)
    lookup = Lookup(playlists, Objects(library, responses), responses, reactor, beginnings)
    proxies = TrustedProxies.of(config.cluster.trusted_proxies)
    steering = Steering(node.name, edges, proxies, windows.window, responses, reactor.seconds)
    prepared = PreparedResponses(responses, counters, reactor.seconds)
    is_asked_by_nodes = takes is not None and bool(config.cluster.secret)
    site = HttpSite(
        Hls(lookup, responses, counters, reactor.seconds, states, flv, pages, takes, steering).resource(),
        responses,
        counters,
        reactor,
        limits=http_limits(config),
        fast_path=HlsFastPath(lookup, prepared, steering, flv, None if flv is None else flv.admission.refused),
        admission=ReadOnly(responses, TAKE_PATH),
        protocol="hls",
        access=access,
        signatures=Signatures(node.credentials) if is_asked_by_nodes else None,
        proxies=proxies,
    )
    reload_http(process.reloader, site, steering, beginnings)
    return site


def rtmp_server(
    config: Config,
    process: Process,
    node: LocalNode,
    viewers: ViewerAdmission,
    *,
    edges: EdgeSelection | None,
    publishing: Publishing | None = None,
    takes_viewers: bool = True,
) -> RtmpServerFactory:
    """Take RTMP connections: of publishers, of downstream relays, and of viewers."""
    relays = RelayAdmission(relay_rule(config, node.credentials), takes_viewers, process.reactor.seconds)
    elsewhere = (lambda _: None) if edges is None else edges.redirect_url
    play, limits = RtmpPlaying(viewers, relays), rtmp_limits(config)
    factory = RtmpServerFactory(publishing, play, limits, process.reactor, node.metrics, elsewhere)
    reload_rtmp(process.reloader, factory)
    reload_relays(process.reloader, relays, node.credentials)
    return factory


def operations(
    config: Config,
    process: Process,
    node: LocalNode,
    heartbeat: HeartbeatSender,
    streams: Streams,
    not_ready: Callable[[], list[str]],
    *,
    edges: EdgeSelection | None,
    sources: Callable[[], Mapping[str, Source]] = dict,
) -> HttpSite:
    """
    Health, readiness, metrics, and what this node and its cluster carry.

    ``sources`` has the streams that are published here.
    """
    ops = Ops(
        lambda: [*process.drain.reasons(), *not_ready()],
        lambda: described_all(streams.windows(), sources()),
        node.metrics,
        None if edges is None else edges.route,
        lambda: process.drain.begin("POST /drain"),
        heartbeat.report,
        heartbeat.warnings,
    )
    responses = ResponseFactory(node.name, PRIVATE)
    admission = OpsAdmission(responses, node.metrics, host_names(config.ops.hosts), config.ops.token)
    site = ops_site(ops, admission, process.reactor, ops_limits(config))
    reload_ops(process.reloader, site, admission)
    return site


def open_when(ready: Callable[[], bool], listeners: Iterable[Listener], clock: Any) -> None:
    """Accept connections once the cache is ready; until then they wait, for at most `HOLD_S`."""
    until = clock.seconds() + HOLD_S

    def look() -> None:
        if not ready() and clock.seconds() < until:
            clock.callLater(LOOK_S, look)
        else:
            for listener in listeners:
                listener.open()

    clock.callLater(LOOK_S, look)
