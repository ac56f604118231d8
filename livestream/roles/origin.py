"""An origin: fetches each segment once from the ingest that announces it, keeps it, and announces it to edges."""

from __future__ import annotations

from typing import Any

from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.published import PublishedStreams
from livestream.cache.cache import Cache
from livestream.cache.prefetch import OriginReplicator
from livestream.cluster.upstream_selection import UpstreamSelection
from livestream.config import Config
from livestream.http.response import ResponseFactory
from livestream.lifecycle.drain import DrainPhase
from livestream.lifecycle.drain_steps import drain_cache, drain_http, drain_rtmp
from livestream.lifecycle.process import Process
from livestream.lifecycle.reload_hooks import reload_origin_upstreams
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, EpochBegan
from livestream.ops.streams import watched_streams
from livestream.push.relay import Relays
from livestream.push.viewer_admission import ViewerAdmission
from livestream.roles.claim_requests import OriginAnswers, TakeRequests
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


def build_origin(config: Config, reactor: Any) -> Process:
    """Build an origin."""
    process = Process.of(config, reactor)
    node = LocalNode.join(config, process, Metrics())
    edges = edge_selection(config, process, node)

    # What ingests announce, and what is fetched from them, the one that announced a stream first of all.
    def holder(stream: str) -> str:
        return known.holder(stream)

    selection = UpstreamSelection("ingest", config.origin.upstreams, node.members.nodes, holder)
    upstreams = fetching_from(selection, node, reactor)
    states = UpstreamStates(selection, upstreams)
    known = KnownStreams(node.bus, Tier.INGEST, states, config.hls.window, reactor, node.metrics)
    store = object_store(config, process, node, known)
    cache = Cache(store, upstreams, known.object_info, reactor, reactor.seconds)

    # What is here whole is announced to edges.
    published = PublishedStreams(node.bus, Tier.ORIGIN, config.hls.window, node.bus_name)
    replicator = OriginReplicator(cache, config.hls.window, published.announce, published.remove, reactor)
    known.subscribe(replicator.on_announcement)

    # What ingests relay, pushed on.
    players = UpstreamPlayers(selection, upstreams, node, reactor)
    relays = Relays(players.of, players.holdings, known.epoch, reactor, node.metrics)
    feeds = push_feeds(config, process, node, relays, LiveRenditions(known))
    viewers = ViewerAdmission(feeds)

    def has_new_writer(stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, EpochBegan):
            relays.writer_changed(stream)

    known.subscribe(has_new_writer)
    known.subscribe(lambda stream, _: feeds.waiting.announced(stream))

    def not_ready() -> list[str]:
        return [*known.not_ready_reasons(), *states.not_ready_reasons()]

    # What edges, and ingests that take a stream, are served.
    responses, takes = ResponseFactory(node.name), TakeRequests(node.credentials, OriginAnswers(known))
    site = http_site(config, process, node, responses, published, cache, edges=edges, states=published, takes=takes)
    rtmp = rtmp_server(config, process, node, viewers, edges=edges)
    heartbeat = node.start_heartbeat(process, not_ready, lambda: watched_streams(known.windows(), feeds.viewers()))
    ops = operations(config, process, node, heartbeat, known, not_ready, edges=edges)
    media = [
        process.listen("origin.http", config.origin.http, site, is_held=True),
        process.listen("origin.rtmp", config.origin.rtmp, rtmp, is_held=True),
    ]
    process.listen("ops.http", config.ops.http, ops)

    # How it takes new settings, drains, starts and stops.
    reload_origin_upstreams(process.reloader, selection)
    drain_http(process.drain, site)
    drain_rtmp(process.drain, rtmp, keeps_relays=False)
    drain_cache(process.drain, cache)
    for listener in media:
        process.drain.at(DrainPhase.CLOSING, listener.close)
    process.when_running(known.start)
    process.when_running(open_when, lambda: not not_ready() and known.is_informed, media, reactor)
    for stop in (replicator.stop, known.stop, cache.stop, feeds.stop):
        process.at_stop(stop)
    return process
