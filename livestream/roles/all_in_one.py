"""The whole system in one process: publishers come in, and viewers are served from the same store and feeds."""

from __future__ import annotations

from typing import Any

from livestream.bus.interface import Tier
from livestream.bus.memory import MemoryBus
from livestream.bus.published import PublishedStreams
from livestream.config import Config
from livestream.http.response import ResponseFactory
from livestream.ingest.claims import NoPeerNodes
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import PublishAdmission
from livestream.ingest.rtmp import RtmpPublishing
from livestream.ingest.takeovers import Takeovers
from livestream.lifecycle.derived import access_log, http_address_limits, rtmp_address_limits
from livestream.lifecycle.drain import DrainPhase
from livestream.lifecycle.drain_steps import drain_http, drain_publishers, drain_rtmp
from livestream.lifecycle.process import Process
from livestream.lifecycle.reload_hooks import limit_addresses, reload_access_log, reload_publish_admission
from livestream.metrics import Metrics
from livestream.ops.streams import live_streams, watched_streams
from livestream.pages.watch import Watch
from livestream.push.flv import FlvPush
from livestream.push.viewer_admission import ViewerAdmission
from livestream.roles.ingest import LocalServices, broadcasts_of, slates_of, sources_of
from livestream.roles.node import LocalNode
from livestream.roles.segment_store import SegmentStore
from livestream.roles.serving import http_site, object_store, operations, push_feeds, rtmp_server
from livestream.transcode.pool import TranscoderPool


def build_all_in_one(config: Config, reactor: Any) -> Process:
    """Build everything in one process; no other node of a cluster has its broadcasts."""
    has_cluster = bool(config.cluster.secret)
    process = Process.of(config, reactor, drains=has_cluster)
    node = LocalNode.join(config, process, Metrics())
    bus = MemoryBus(node.bus_name) if has_cluster else node.bus

    # What is published here, for viewers to fetch and to be pushed.
    published = PublishedStreams(bus, Tier.INGEST, config.hls.window, node.bus_name)
    segment_store = SegmentStore(object_store(config, process, node, published))
    feeds = push_feeds(config, process, node)
    viewers = ViewerAdmission(feeds)

    # Publishers and their broadcasts.
    transcoders = TranscoderPool(reactor, node.metrics, config.transcode.preset)
    slates, takeovers = slates_of(config, process), Takeovers(reactor)
    services = LocalServices(segment_store, feeds, transcoders, config.transcode.ladder, slates)
    broadcasts = broadcasts_of(
        config, process, node, bus, published, services, takeovers,
        others=NoPeerNodes(), position=published.position, publisher_changed=lambda _: None,
    )  # fmt: skip
    keys, max_publishers = PublishKeys(config.ingest.keys), config.ingest.max_publishers
    admission = PublishAdmission(keys, broadcasts, reactor, node.metrics, max_publishers, takeovers)

    # What publishers, viewers and operators are served.
    responses = ResponseFactory(node.name)
    flv = FlvPush(viewers, responses)
    pages, access = Watch(lambda: live_streams(published.windows())).resource(), access_log(config, reactor)
    site = http_site(
        config, process, node, responses, published, segment_store, edges=None, flv=flv, pages=pages, access=access
    )
    rtmp = rtmp_server(config, process, node, viewers, edges=None, publishing=RtmpPublishing(admission))
    heartbeat = node.start_heartbeat(process, list, lambda: watched_streams(published.windows(), feeds.viewers()))
    ops = operations(config, process, node, heartbeat, published, list, edges=None, sources=sources_of(broadcasts))
    process.listen("ingest.rtmp", config.ingest.rtmp, rtmp)
    edge = process.listen("edge.http", config.edge.http, site)
    process.listen("ops.http", config.ops.http, ops)

    # How it takes new settings, drains and stops.
    reload_publish_admission(process.reloader, admission)
    reload_access_log(process.reloader, site)
    limit_addresses(process.reloader, site.addresses, http_address_limits, lambda new: new.edge.proxy_protocol)
    limit_addresses(process.reloader, rtmp.addresses, rtmp_address_limits, lambda new: new.ingest.proxy_protocol)
    drain_http(process.drain, site, flv, viewers_ask_every_s=config.hls.segment_s)
    drain_rtmp(process.drain, rtmp, keeps_relays=True)
    drain_publishers(process.drain, admission, broadcasts, None)
    process.drain.at(DrainPhase.CLOSING, edge.close)
    for stop in (broadcasts.stop, feeds.stop):
        process.at_stop(stop)
    return process
