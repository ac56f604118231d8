"""An ingest: publishers come in, segments are kept for origins and announced to them, frames go to their relays."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from attrs import define

from livestream.bus.acknowledgements import Acknowledgements
from livestream.bus.interface import Bus, Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.published import PublishedStreams
from livestream.cache.upstream.node import UpstreamNode
from livestream.config import Config
from livestream.http.response import ResponseFactory
from livestream.ingest.broadcasts import Broadcasts, WriterServices
from livestream.ingest.claims import Claims, PeerNodes, farthest
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import PublishAdmission
from livestream.ingest.rtmp import RtmpPublishing
from livestream.ingest.services import AudioConversion, BroadcastSettings, RungSink, Transcode
from livestream.ingest.takeovers import Takeovers
from livestream.lifecycle.derived import rtmp_address_limits
from livestream.lifecycle.drain_steps import drain_http, drain_publishers, drain_rtmp
from livestream.lifecycle.process import Process
from livestream.lifecycle.reload_hooks import limit_addresses, reload_publish_admission
from livestream.media.slate import Slate, SlateShape
from livestream.metrics import Metrics
from livestream.model.epochs import WRITERS
from livestream.model.frames import Frame
from livestream.model.names import SOURCE
from livestream.model.segments import PublisherChange, StreamPosition
from livestream.ops.streams import Source, watched_streams
from livestream.push.feed import Feed
from livestream.push.feeds import Feeds
from livestream.push.timeline_splice import TimelineOrigin
from livestream.push.viewer_admission import ViewerAdmission
from livestream.roles.claim_requests import IngestAnswers, TakeRequests
from livestream.roles.claim_survey import OtherNodes
from livestream.roles.node import LocalNode
from livestream.roles.other_ingests import OtherIngests, PublisherChannel, giving_way
from livestream.roles.segment_store import SegmentStore
from livestream.roles.serving import edge_selection, http_site, object_store, operations, push_feeds, rtmp_server
from livestream.steering.nodes import Node, NodeState
from livestream.transcode.ladder import Rung, ladder_for, source_rung
from livestream.transcode.pool import TranscoderPool
from livestream.transcode.slates import Slates, read_picture


class Transcoders(Protocol):
    """Whoever encodes what broadcasts send."""

    def open(self, stream: str, ladder: Sequence[Rung], source_height: int, sink: RungSink) -> Transcode:
        """A transcoder that makes the rungs of ``ladder`` of one broadcast with ``source_height`` lines."""

    def open_audio(
        self, stream: str, converted: Callable[[Frame], None], given_up: Callable[[str], None]
    ) -> AudioConversion:
        """What makes AAC of the audio of one broadcast."""


@define(eq=False)
class LocalServices:
    """What broadcasts find around them (`livestream.ingest.services.BroadcastServices`)."""

    store: SegmentStore
    feeds: Feeds
    transcoders: Transcoders
    heights: Sequence[int]
    slates: Slates | None = None

    def open_feed(self, stream: str, rendition: str, number: int) -> Feed:
        return self.feeds.begin(stream, rendition, TimelineOrigin(number))

    def end_feed(self, feed: Any) -> None:
        self.feeds.end(feed)

    def cut_feed(self, feed: Any) -> None:
        self.feeds.cut(feed)

    def audio_conversion(
        self, stream: str, converted: Callable[[Frame], None], given_up: Callable[[str], None]
    ) -> AudioConversion:
        return self.transcoders.open_audio(stream, converted, given_up)

    def slate(self, shape: SlateShape) -> Slate | None:
        return None if self.slates is None else self.slates.get(shape)

    def rungs(self, height: int) -> Sequence[str]:
        return [rung.name for rung in ladder_for(height, self.heights)]

    def transcoder(self, stream: str, rungs: Sequence[str], source_height: int, sink: RungSink) -> Transcode:
        ladder = [rung for rung in ladder_for(1 << 16, self.heights) if rung.name in rungs]
        if SOURCE in rungs:
            ladder.insert(0, source_rung(source_height))
        return self.transcoders.open(stream, ladder, source_height, sink)


def broadcasts_of(
    config: Config,
    process: Process,
    node: LocalNode,
    bus: Bus,
    published: PublishedStreams,
    services: LocalServices,
    takeovers: Takeovers,
    *,
    others: PeerNodes,
    position: Callable[[str], StreamPosition],
    publisher_changed: Callable[[PublisherChange], None],
) -> Broadcasts:
    """
    All broadcasts of this process, each the writer of its stream on ``bus`` and in ``published``.

    ``others`` are asked before a stream is taken, ``position`` has how far it has come anywhere, and
    ``publisher_changed`` is called when a publisher comes or leaves.
    """
    seconds, writer = process.reactor.seconds, secrets.randbelow(WRITERS)
    claims = Claims(node.bus_name, bus.claim, others, position, writer, process.reactor, seconds)
    writer_services = WriterServices(
        node.bus_name, claims, bus.accept, bus.release, published.record, lambda: bus.is_healthy, publisher_changed
    )
    settings = BroadcastSettings(
        config.hls.segment_s,
        config.ingest.end_s,
        config.ingest.grace_s,
        config.transcode.ladder,
        config.transcode.source,
        config.hls.window,
    )
    return Broadcasts(
        settings, services, writer_services, published.remove, takeovers.count, process.reactor, seconds, node.metrics
    )


def slates_of(config: Config, process: Process) -> Slates | None:
    """
    The slates, if a picture for them is configured.

    :raises ConfigError: it cannot be used.
    """
    if not config.ingest.slate:
        return None
    slates = Slates(process.reactor, config.ingest.slate, read_picture(Path(config.ingest.slate)))
    process.at_stop(slates.stop)
    return slates


def sources_of(broadcasts: Broadcasts) -> Callable[[], Mapping[str, Source]]:
    """Return what gives the publisher's end of each broadcast."""
    return lambda: {each.stream: Source(each.source_mode, each.left_out.items) for each in broadcasts.live()}


def build_ingest(config: Config, reactor: Any, transcoders: Transcoders | None = None) -> Process:
    """Build an ingest. Without ``transcoders``, each broadcast has a child process of this machine."""
    process = Process.of(config, reactor)
    node = LocalNode.join(config, process, Metrics())
    edges = edge_selection(config, process, node)

    # What this ingest has, for origins to fetch and to relay.
    published = PublishedStreams(node.bus, Tier.INGEST, config.hls.window, node.bus_name)
    segment_store = SegmentStore(object_store(config, process, node, published))
    feeds = push_feeds(config, process, node)
    viewers = ViewerAdmission(feeds)

    # What other ingests have, and what is asked of them and of origins before a stream is taken.
    known = KnownStreams(node.bus, Tier.INGEST, None, config.hls.window, reactor, node.metrics)
    other_ingests = OtherIngests(node.bus_name, node.members.nodes, reactor)
    channel = PublisherChannel(node.bus, node.bus_name, config.cluster.secret)
    connect = partial(UpstreamNode.at, reactor=reactor, observer=node.members.others, credentials=node.credentials)
    survey = OtherNodes(
        bool(config.cluster.secret), node.members.reachable, lambda: node.members.knows_nodes, connect, reactor
    )

    def position(stream: str) -> StreamPosition:
        return farthest([published.position(stream), known.position(stream)])

    # Publishers and their broadcasts.
    transcoders = transcoders or TranscoderPool(reactor, node.metrics, config.transcode.preset)
    slates, takeovers = slates_of(config, process), Takeovers(reactor)
    services = LocalServices(segment_store, feeds, transcoders, config.transcode.ladder, slates)
    broadcasts = broadcasts_of(
        config, process, node, node.bus, published, services, takeovers,
        others=survey, position=position, publisher_changed=channel.send,
    )  # fmt: skip
    keys, max_publishers = PublishKeys(config.ingest.keys), config.ingest.max_publishers
    admission = PublishAdmission(keys, broadcasts, reactor, node.metrics, max_publishers, takeovers, other_ingests)
    known.subscribe(giving_way(node.bus_name, broadcasts.give_up, admission.superseded))
    known.subscribe(other_ingests.changed)
    channel.subscribe(other_ingests.publisher_changed)

    # What publishers, origins and operators are served.
    responses = ResponseFactory(node.name)
    takes = TakeRequests(node.credentials, IngestAnswers(broadcasts, admission, position))
    site = http_site(
        config, process, node, responses, published, segment_store, edges=edges, states=published, takes=takes
    )
    rtmp = rtmp_server(
        config, process, node, viewers, edges=edges, publishing=RtmpPublishing(admission), takes_viewers=False
    )
    heartbeat = node.start_heartbeat(process, list, lambda: watched_streams(published.windows(), feeds.viewers()))
    ops = operations(config, process, node, heartbeat, published, list, edges=edges, sources=sources_of(broadcasts))
    process.listen("ingest.rtmp", config.ingest.rtmp, rtmp)
    process.listen("ingest.http", config.ingest.http, site)
    process.listen("ops.http", config.ops.http, ops)

    # How it takes new settings, drains, starts and stops; its listeners stay, for the last segments are to be fetched.
    reload_publish_admission(process.reloader, admission)
    limit_addresses(process.reloader, rtmp.addresses, rtmp_address_limits, lambda new: new.ingest.proxy_protocol)
    acknowledgements = Acknowledgements(node.bus, published, lambda: heard_origins(node.members.nodes()))
    drain_http(process.drain, site)
    drain_rtmp(process.drain, rtmp, keeps_relays=True)
    drain_publishers(process.drain, admission, broadcasts, acknowledgements)
    process.when_running(known.start)
    for stop in (known.stop, broadcasts.stop, feeds.stop):
        process.at_stop(stop)
    return process


def heard_origins(nodes: Sequence[Node]) -> list[str]:
    """The origins that can say on the bus what they have; one that is cut off from it cannot."""
    return [node.id for node in nodes if node.role == "origin" and node.state is not NodeState.CUT_OFF]
