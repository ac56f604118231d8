"""The parts that roles are put together from, each made from the configuration in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.application.service import MultiService
from twisted.application.service import Service as TwistedService
from twisted.internet.interfaces import IProtocolFactory
from twisted.web.resource import IResource
from twisted.web.server import Site

from livestream.bus.memory import Bus, MemoryBus
from livestream.cache.store import Found, Key, Need, Store
from livestream.cluster.presence import Presence
from livestream.config import Config
from livestream.delivery.access import AccessLog
from livestream.delivery.answers import Answers
from livestream.delivery.feed import PushLimits
from livestream.delivery.feeds import Feeds, Supply
from livestream.delivery.flv import FlvPush
from livestream.delivery.hls import Hls, States
from livestream.delivery.hot import HotPath
from livestream.delivery.http import HttpSite
from livestream.delivery.limits import ChannelLimits, HeadLimits, HttpLimits
from livestream.delivery.objects import Library, Objects
from livestream.delivery.ops import Ops
from livestream.delivery.playlists import Playlists, Windows
from livestream.delivery.rtmp import RtmpPlay
from livestream.delivery.service import Service
from livestream.delivery.tally import Tallies
from livestream.metrics import Metrics
from livestream.model import ObjectInfo
from livestream.net.body import Body
from livestream.net.listeners import Listener
from livestream.net.rtmp import Publishing, RtmpLimits, RtmpServerFactory
from livestream.net.ticker import Ticker
from livestream.packaging.window import Window
from livestream.steering.nodes import Node, Place

SWEEP_S = 2.0


class Known(Protocol):
    """Whoever knows the streams of this node."""

    def window(self, stream: str) -> Window | None: ...
    def windows(self) -> list[Window]: ...


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
    _bus: Bus | None = field(default=None, init=False)
    _presence: Presence | None = field(default=None, init=False)

    @property
    def node(self) -> str:
        return self.config.node.id or self.config.role

    def seconds(self) -> float:
        """The wall clock."""
        return float(self.reactor.seconds())

    def bus(self) -> Bus:
        """The bus that the configuration names, one for all; one between processes is a service."""
        if self._bus is None:
            self._bus = self._redis() if self.config.bus.redis else MemoryBus()
        return self._bus

    def _redis(self) -> Bus:
        from livestream.bus.redis import RedisBus

        bus = RedisBus(self.config.bus.redis, self.reactor, self.metrics)
        self._run(bus)
        return bus

    def cluster(self) -> Presence:
        """This node among the others, one for all; without ``cluster.secret`` it is alone."""
        if self._presence is None:
            self._presence = Presence(self._own())
        return self._presence

    def _own(self) -> Node:
        node = self.config.node
        place = None if node.latitude is None or node.longitude is None else Place(node.latitude, node.longitude)
        return Node(
            self.node,
            self.config.role,
            node.http.rstrip("/"),
            node.rtmp,
            region=node.region,
            place=place,
            capacity_rps=node.capacity_rps,
            capacity_mbps=node.capacity_mbps,
        )

    def store(self, known: Known) -> Store:
        """The objects of this node, of which those that nobody can ask for any more are let go."""

        def need(key: Key) -> Need:
            window = known.window(key.stream)
            if window is None or window.object_info(key.rendition, key.name) is None:
                return Need.NONE
            listed = (info for each in window.listed(key.rendition) for info in (each.media, each.init))
            return Need.LISTED if any(info and info.name == key.name for info in listed) else Need.LINGERING

        store = Store(self.config.cache.limit_mb << 20, need, self.seconds, self.metrics)
        self.every(SWEEP_S, store.sweep)
        return store

    def feeds(self, supply: Supply | None) -> Feeds:
        """The push."""
        push = self.config.push
        limits = PushLimits(push.tick_ms, push.chunk_bytes, push.slow_bytes, push.slow_s, push.wait_s, push.linger_s)
        return Feeds(limits, self.reactor, self.metrics, supply)

    def http(
        self,
        setting: str,
        windows: Windows,
        library: Library,
        states: States | None = None,
        feeds: Feeds | None = None,
        rest: IResource | None = None,
    ) -> None:
        """Serve a tier's objects and playlists at ``setting``; with ``feeds`` FLV as well."""
        answers, tallies = Answers(self.node), Tallies(self.metrics)
        service = Service(Playlists(windows, answers), Objects(library, answers), answers, self.seconds)
        flv = None if feeds is None else FlvPush(feeds, answers)
        hls = Hls(service, answers, tallies, self.seconds, states, flv, rest)
        path = self.config.edge.access_log if setting == "edge.http" else ""
        site = HttpSite(
            hls.resource(),
            answers,
            tallies,
            self.reactor,
            limits=self._http_limits(),
            hot=HotPath(service, tallies, self.seconds),
            access=AccessLog(path, self.reactor) if path else None,
        )
        self.listen(setting, site)

    def rtmp(self, setting: str, publishing: Publishing | None, feeds: Feeds) -> None:
        """Take RTMP connections at ``setting``."""
        limits = RtmpLimits(connections=self.config.limits.rtmp_connections)
        self.listen(setting, RtmpServerFactory(publishing, RtmpPlay(feeds), limits, self.reactor, self.metrics))

    def ops(self, known: Known, ready: Callable[[], list[str]]) -> None:
        """Serve operations."""
        ops = Ops(ready, lambda: [described(window) for window in known.windows()], self.metrics)
        self.listen("ops.http", Site(ops.resource()))

    def listen(self, setting: str, factory: IProtocolFactory) -> None:
        """Have ``factory`` serve the endpoint that is the value of ``setting``."""
        section, _, key = setting.partition(".")
        where = getattr(getattr(self.config, section), key)
        self._run(Listener(setting, where, factory, self.reactor))

    def every(self, period_s: float, action: Callable[[], None]) -> None:
        """Have something done every so often."""
        self._run(Ticker(period_s, action, self.reactor))

    def at_stop(self, action: Callable[[], Any]) -> None:
        """Have something done when the process ends."""
        self.reactor.addSystemEventTrigger("before", "shutdown", action)

    def _run(self, service: TwistedService) -> None:
        service.setServiceParent(self.root)

    def _http_limits(self) -> HttpLimits:
        limits = self.config.limits
        channel = ChannelLimits(
            HeadLimits(), limits.header_s, stall_s=limits.stall_s, send_buffer_bytes=limits.send_buffer_kb << 10
        )
        return HttpLimits(limits.connections, limits.connections_per_address, channel)


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
