"""An edge: serves viewers from a cache that origins fill, and pushes what origins relay."""

from __future__ import annotations

from typing import Any

from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.cache.cache import Cache
from livestream.cache.prefetch import EdgePrefetcher
from livestream.cluster.upstream_selection import UpstreamSelection
from livestream.config import Config
from livestream.http.response import ResponseFactory
from livestream.lifecycle.derived import access_log, http_address_limits, rtmp_address_limits
from livestream.lifecycle.drain import DrainPhase
from livestream.lifecycle.drain_steps import drain_cache, drain_http, drain_rtmp
from livestream.lifecycle.process import Process
from livestream.lifecycle.reload_hooks import limit_addresses, reload_access_log, reload_edge_upstreams
from livestream.metrics import Metrics
from livestream.ops.streams import live_streams, watched_streams
from livestream.pages.watch import Watch
from livestream.push.flv import FlvPush
from livestream.push.relay import Relays
from livestream.push.viewer_admission import ViewerAdmission
from livestream.roles.live_renditions import LiveRenditions
from livestream.roles.node import LocalNode
from livestream.roles.serving import (
    edge_selection,
    http_site,
    object_store,
    open_when,
    operations,
    push_feeds,
    rtmp_server,
)
from livestream.roles.upstream_tier import UpstreamPlayers, UpstreamStates, fetching_from


def build_edge(config: Config, reactor: Any) -> Process:
    """Build an edge."""
    process = Process.of(config, reactor)
    node = LocalNode.join(config, process, Metrics())
    edges = edge_selection(config, process, node)

    # What origins announce, and what is fetched from them.
    selection = UpstreamSelection("origin", config.edge.upstreams, node.members.nodes)
    upstreams = fetching_from(selection, node, reactor)
    states = UpstreamStates(selection, upstreams)
    known = KnownStreams(node.bus, Tier.ORIGIN, states, config.hls.window, reactor, node.metrics)
    store = object_store(config, process, node, known)
    cache = Cache(store, upstreams, known.object_info, reactor, reactor.seconds)
    known.subscribe(EdgePrefetcher(cache).on_announcement)

    # What origins relay, pushed on.
    players = UpstreamPlayers(selection, upstreams, node, reactor)
    relays = Relays(players.of, players.holdings, known.epoch, reactor, node.metrics)
    feeds = push_feeds(config, process, node, relays, LiveRenditions(known))
    viewers = ViewerAdmission(feeds)
    known.subscribe(lambda stream, _: feeds.waiting.announced(stream))

    def not_ready() -> list[str]:
        return [*known.not_ready_reasons(), *states.not_ready_reasons()]

    # What viewers and operators are served.
    responses = ResponseFactory(node.name)
    flv = FlvPush(viewers, responses)
    pages = Watch(lambda: live_streams(known.windows()), is_steered=edges is not None).resource()
    access = access_log(config, reactor)
    site = http_site(config, process, node, responses, known, cache, edges=edges, flv=flv, pages=pages, access=access)
    rtmp = rtmp_server(config, process, node, viewers, edges=edges)
    heartbeat = node.start_heartbeat(process, not_ready, lambda: watched_streams(known.windows(), feeds.viewers()))
    ops = operations(config, process, node, heartbeat, known, not_ready, edges=edges)
    media = [
        process.listen("edge.http", config.edge.http, site, is_held=True),
        process.listen("edge.rtmp", config.edge.rtmp, rtmp, is_held=True),
    ]
    process.listen("ops.http", config.ops.http, ops)

    # How it takes new settings, drains, starts and stops.
    reload_edge_upstreams(process.reloader, selection)
    reload_access_log(process.reloader, site)
    limit_addresses(process.reloader, site.addresses, http_address_limits, lambda new: new.edge.proxy_protocol)
    limit_addresses(process.reloader, rtmp.addresses, rtmp_address_limits, lambda new: new.edge.proxy_protocol)
    drain_http(process.drain, site, flv, viewers_ask_every_s=config.hls.segment_s)
    drain_rtmp(process.drain, rtmp, keeps_relays=False)
    drain_cache(process.drain, cache)
    for listener in media:
        process.drain.at(DrainPhase.CLOSING, listener.close)
    process.when_running(known.start)
    process.when_running(open_when, lambda: not not_ready() and known.is_informed, media, reactor)
    for stop in (known.stop, cache.stop, feeds.stop):
        process.at_stop(stop)
    return process
