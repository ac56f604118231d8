"""The parts that roles are put together from, each made from the configuration in one place."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.application.service import MultiService
from twisted.application.service import Service as TwistedService
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.web.resource import IResource

from livestream.bus.interface import Bus
from livestream.bus.memory import MemoryBus
from livestream.cache.store import Found, Key, Store
from livestream.cluster.edge_selection import EdgeGuide
from livestream.cluster.heartbeat import PERIOD_S, Presence
from livestream.config import Config
from livestream.hls.fast_path import HlsFastPath
from livestream.hls.lookup import Service
from livestream.hls.objects import Library, Objects
from livestream.hls.playlists import Playlists, Windows
from livestream.hls.routes import NODE_POSTS, Hls, States
from livestream.hls.steering import Steer
from livestream.http.client_address import Proxies
from livestream.http.counters import Tallies
from livestream.http.prepared import PreparedResponses
from livestream.http.response import PRIVATE, Answers
from livestream.http.signatures import Signatures
from livestream.http.site import HttpSite, ReadOnly
from livestream.ingest.broadcast import Transcode
from livestream.lifecycle.drain import Draining, Phase
from livestream.lifecycle.drain_steps import leave_http, leave_rtmp
from livestream.lifecycle.reload import Reloading
from livestream.lifecycle.reload_hooks import (
    access_log,
    allow_address_limits,
    geography,
    http_limits,
    limit_addresses,
    ops_limits,
    push_limits,
    relay_rule,
    renew_draining,
    renew_feeds,
    renew_guide,
    renew_http,
    renew_ops,
    renew_relays,
    renew_rtmp,
    renew_store,
    rtmp_limits,
)
from livestream.metrics import Metrics
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body
from livestream.net.listeners import Listener
from livestream.net.periodic import Ticker
from livestream.net.rtmp.requests import Publishing
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.ops.admission import OpsAdmission, host_names
from livestream.ops.site import Ops, ops_site
from livestream.packaging.window import Window
from livestream.push.feeds import Feeds, Supply
from livestream.push.feeds import Known as KnownNames
from livestream.push.flv import FlvPush
from livestream.push.relay_admission import RelayAdmission
from livestream.push.rtmp import RtmpPlay
from livestream.roles.join_cluster import join, renew_presence
from livestream.roles.takes import Answering, TakeRequests
from livestream.signing import Credentials
from livestream.transcode.ladder import Rung
from livestream.transcode.pool import RungSink, TranscoderPool
from livestream.urls import without_password

SWEEP_S = 0.5
LOG_WINDOWS = 2 * 8
"""Of each stream a log keeps what may still be fetched, of eight renditions."""
HOLD_S = 5.0
"""Who comes to a cache that has just been started waits so long at most, rather than hear that it has nothing."""
LOOK_S = 0.05
STALL_LOOK_S = 1.0
QUIET_S = 2.0
"""Viewers have moved when none has come for a segment's length and so much more: each asks once a segment."""


class Known(Protocol):
    """Whoever knows the streams of this node."""

    def window(self, stream: str) -> Window | None: ...
    def windows(self) -> list[Window]: ...


class Transcoders(Protocol):
    """Whoever encodes what broadcasts send."""

    def open(self, stream: str, ladder: Sequence[Rung], sink: RungSink) -> Transcode:
        """A transcoder that makes the rungs of ``ladder`` for one broadcast."""


@define(eq=False)
class Shelf:
    """The store, as an ingest fills it and as viewers are served from it."""

    store: Store

    def put(self, stream: str, rendition: str, info: ObjectInfo, data: bytes) -> None:
        self.store.put(Key(stream, rendition, info.name), info, Body.whole(data))

    def peek(self, stream: str, rendition: str, name: str) -> Found | None:
        return self.store.peek(Key(stream, rendition, name))


@define(eq=False)
class Parts:
    """One process: what its parts share, and the services that run them."""

    config: Config
    reactor: Any
    root: MultiService = field(factory=MultiService)
    metrics: Metrics = field(factory=Metrics)
    transcoders: Transcoders = field()
    draining: Draining = field(init=False)
    reloading: Reloading = field(init=False)
    credentials: Credentials = field(init=False)
    """Who this node is to others that it asks."""
    _bus_node: str = field(init=False)

    log: ClassVar[Logger] = Logger()
    _bus: Bus | None = field(default=None, init=False)
    _presence: Presence | None = field(default=None, init=False)
    _feeds: Feeds | None = field(default=None, init=False)
    _held: list[Listener] = field(factory=list, init=False)
    _guide: EdgeGuide | None = field(default=None, init=False)

    @transcoders.default
    def _processes(self) -> Transcoders:
        return TranscoderPool(self.reactor, self.metrics, self.config.transcode.preset)

    def __attrs_post_init__(self) -> None:
        """A process that is all there is has nowhere to send anybody, and ends at once."""
        is_alone = self.config.role == "all" and not self.config.cluster.secret
        limit_s = 0.0 if is_alone else self.config.cluster.drain_s
        self._bus_node = f"{self.config.role}-{secrets.token_hex(4)}"
        self.draining = Draining(limit_s, self.reactor, self.reactor.stop)
        self.draining.at(Phase.TOLD, lambda: self.cluster().drain())
        self.reloading = Reloading(self.config)
        allow_address_limits(self.reloading)
        self.credentials = Credentials(self.node, self.config.cluster.secret, self.seconds, self._clock_of)
        if not is_alone:
            renew_draining(self.reloading, self.draining)

    @property
    def node(self) -> str:
        return self.config.node.id or self.config.role

    @property
    def bus_node(self) -> str:
        """This process on the bus: no two processes that announce streams have the same name there."""
        return self.config.node.id or self._bus_node

    @property
    def seconds(self) -> Callable[[], float]:
        """The wall clock."""
        clock: Callable[[], float] = self.reactor.seconds
        return clock

    def bus(self) -> Bus:
        """The bus that the configuration names, one for all; one between processes is a service."""
        if self._bus is None:
            self._bus = self._redis() if self.config.bus.redis else MemoryBus(self.bus_node)
        return self._bus

    def _redis(self) -> Bus:
        from livestream.bus.redis import RedisBus
        from livestream.bus.redis_connection import is_local

        kept = LOG_WINDOWS * self.config.hls.window
        url, secret = self.config.bus.redis, self.config.cluster.secret
        bus = RedisBus(url, self.reactor, self.metrics, self.bus_node, kept, secret)
        if not secret and not is_local(url):
            words = "whoever reaches Redis at {url} can stop any stream: give cluster.secret"
            self.log.warn(words, url=without_password(url))
        self._run(bus)
        return bus

    def _clock_of(self, node: str) -> float | None:
        return self.cluster().others.clock_of(node)

    def cluster(self) -> Presence:
        """This node among the others, one for all; without ``cluster.secret`` it is alone."""
        if self._presence is None:
            self._presence = join(self.config, self.node, self.bus(), self.metrics, self.seconds)
            renew_presence(self.reloading, self._presence)
            self.every(PERIOD_S, self._presence.tick)
            self.at_stop(self._presence.leave)
        return self._presence

    def guide(self) -> EdgeGuide | None:
        """
        Who tells viewers which of the cluster's edges to use; a process that is all there is serves its own.

        :raises ConfigError: the database of places cannot be read.
        """
        if self._guide is None and self.config.cluster.secret and self.config.role != "all":
            self._guide = EdgeGuide(self.node, self.cluster().nodes, geography(self.config))
            renew_guide(self.reloading, self._guide)
        return self._guide

    def store(self, known: Known) -> Store:
        """The objects of this node, of which those that nobody can ask for any more are let go."""

        def is_known(key: Key) -> bool:
            window = known.window(key.stream)
            return window is not None and window.object_info(key.rendition, key.name) is not None

        def is_listed(key: Key) -> bool:
            window = known.window(key.stream)
            return window is not None and window.is_listed(key.rendition, key.name)

        store = Store(self.config.cache.limit_mb << 20, is_known, is_listed, self.seconds, self.metrics)
        renew_store(self.reloading, store)
        self.every(SWEEP_S, store.sweep)
        return store

    def feeds(self, supply: Supply | None, known: KnownNames | None = None) -> Feeds:
        """The push, of what is live here and, with a ``supply``, of what is ``known`` to be live elsewhere."""
        feeds = self._feeds = Feeds(push_limits(self.config), self.reactor, self.metrics, supply, known)
        renew_feeds(self.reloading, feeds)
        self.every(STALL_LOOK_S, feeds.close_stalled)
        return feeds

    def http(
        self,
        setting: str,
        windows: Windows,
        library: Library,
        states: States | None = None,
        feeds: Feeds | None = None,
        rest: IResource | None = None,
        answering: Answering | None = None,
    ) -> None:
        """Serve a tier's objects and playlists at ``setting``; with ``feeds`` FLV as well."""
        answers, tallies, guide = Answers(self.node), Tallies(self.metrics), self.guide()
        playlists = Playlists(windows, answers, are_steered=guide is not None)
        service = Service(playlists, Objects(library, answers), answers, self.reactor)
        proxies = Proxies.of(self.config.cluster.trusted_proxies)
        steer = Steer(self.node, guide, proxies, windows.window, answers, self.seconds)
        flv = None if feeds is None else FlvPush(feeds, answers)
        takes = None if answering is None else TakeRequests(self.credentials, answering)
        hls = Hls(service, answers, tallies, self.seconds, states, flv, rest, takes, steer)
        prepared = PreparedResponses(answers, tallies, self.seconds)
        is_edge = setting == "edge.http"
        is_asked_by_nodes = answering is not None and bool(self.credentials.secret)
        site = HttpSite(
            hls.resource(),
            answers,
            tallies,
            self.reactor,
            limits=http_limits(self.config),
            fast_path=HlsFastPath(service, prepared, steer, flv, None if feeds is None else feeds.refused),
            admission=ReadOnly(answers, NODE_POSTS),
            access=access_log(self.config, self.reactor) if is_edge else None,
            signatures=Signatures(self.credentials) if is_asked_by_nodes else None,
            proxies=proxies,
        )
        if is_edge:
            limit_addresses(self.reloading, site.addresses, setting)
        renew_http(self.reloading, site, steer, is_logged=is_edge)
        leave_http(self.draining, site, flv, self.config.hls.segment_s + QUIET_S if is_edge else 0.0)
        self.listen(setting, site)

    def rtmp(self, setting: str, publishing: Publishing | None, feeds: Feeds, *, takes_viewers: bool = True) -> None:
        """Take RTMP connections at ``setting``: of publishers, relays of the tier below, and viewers."""
        relays = RelayAdmission(relay_rule(self.config, self.credentials), takes_viewers, self.seconds)
        play, limits = RtmpPlay(feeds, relays), rtmp_limits(self.config)
        factory = RtmpServerFactory(publishing, play, limits, self.reactor, self.metrics)
        if setting != "origin.rtmp":
            limit_addresses(self.reloading, factory.addresses, setting)
        if (guide := self.guide()) is not None:
            factory.elsewhere = guide.elsewhere
        renew_rtmp(self.reloading, factory)
        renew_relays(self.reloading, relays, self.credentials)
        leave_rtmp(self.draining, factory, keeps_relays=publishing is not None)
        self.listen(setting, factory)

    def ops(self, known: Known, ready: Callable[[], list[str]]) -> None:
        """Serve operations. ``ready`` has what keeps the node from being ready, for the others of its cluster too."""
        presence = self.cluster()
        presence.reasons = ready
        presence.streams = lambda: self._carried(known)
        guide = self.guide()
        ops = Ops(
            lambda: [*self.draining.reasons(), *ready()],
            lambda: [described(window) for window in known.windows()],
            self.metrics,
            None if guide is None else guide.route,
            lambda: self.draining.begin("POST /drain"),
            presence.report,
            presence.warnings,
        )
        answers, config = Answers(self.node, PRIVATE), self.config.ops
        admission = OpsAdmission(answers, self.metrics, host_names(config.hosts), config.token)
        site = ops_site(ops, admission, self.reactor, ops_limits(self.config))
        renew_ops(self.reloading, site, admission)
        self.listen("ops.http", site)

    def _carried(self, known: Known) -> dict[str, int]:
        """The streams of this node that are live, with how many watch the push of each."""
        viewers = Counter[str]() if self._feeds is None else self._feeds.viewers()
        return {window.stream: viewers[window.stream] for window in known.windows() if window.is_live}

    def listen(self, setting: str, factory: IProtocolFactory) -> None:
        """Have ``factory`` serve the endpoint that is the value of ``setting``."""
        section, _, key = setting.partition(".")
        where = getattr(getattr(self.config, section), key)
        is_cache = section == self.config.role in ("origin", "edge")
        listener = Listener(setting, where, factory, self.reactor, is_held=is_cache)
        self._run(listener)
        if is_cache:
            self._held.append(listener)
        if section in ("origin", "edge"):  # from an ingest, the last segment is still to be fetched
            self.draining.at(Phase.CLOSING, listener.close)

    def open_when(self, ready: Callable[[], bool]) -> None:
        """Let those in who come to a cache, once it is ready; those who come sooner wait, but not for long."""
        until = self.reactor.seconds() + HOLD_S

        def look() -> None:
            if not ready() and self.reactor.seconds() < until:
                self.reactor.callLater(LOOK_S, look)
            else:
                for listener in self._held:
                    listener.open()

        self.reactor.callLater(LOOK_S, look)

    def every(self, period_s: float, action: Callable[[], None]) -> None:
        """Have something done every so often."""
        self._run(Ticker(period_s, action, self.reactor))

    def at_stop(self, action: Callable[[], Any]) -> None:
        """Have something done when the process ends."""
        self.reactor.addSystemEventTrigger("before", "shutdown", action)

    def _run(self, service: TwistedService) -> None:
        service.setServiceParent(self.root)


def described(window: Window) -> dict[str, Any]:
    """A stream, as operations show it."""
    return {
        "stream": window.stream,
        "state": "ended" if window.is_ended else "live",
        "epoch": window.epoch,
        "target_s": window.target_s,
        "last_msn": window.last_msn,
        "renditions": [
            {
                "name": info.name,
                "codecs": info.codecs,
                "bandwidth": info.bandwidth,
                "width": info.width,
                "height": info.height,
                "frame_rate": info.frame_rate,
            }
            for info in window.renditions()
        ],
    }
