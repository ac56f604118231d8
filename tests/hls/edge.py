"""An edge's HTTP side with a library and windows that the test fills."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, fail

from livestream.hls.beginnings import Beginnings
from livestream.hls.fast_path import HlsFastPath
from livestream.hls.lookup import Lookup
from livestream.hls.objects import Objects
from livestream.hls.playlists import Playlists
from livestream.hls.routes import Hls, Takes
from livestream.hls.steering import EdgeSelector, Steering
from livestream.http.client_address import TrustedProxies
from livestream.http.counters import RequestCounters
from livestream.http.limits import HttpLimits
from livestream.http.prepared import PreparedResponses
from livestream.http.response import ResponseFactory
from livestream.http.signatures import Signatures
from livestream.http.site import HttpSite, ReadOnly
from livestream.metrics import Metrics
from livestream.model.names import TAKE_PATH
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body
from livestream.packaging.window import Window
from livestream.push.feed import PushLimits
from livestream.push.feeds import AvailabilityLookup, Feeds
from livestream.push.flv import FlvPush
from livestream.push.viewer_admission import ViewerAdmission
from tests.http.wire import Client, connect
from tests.net.loop import Loop

Name = tuple[str, str, str]


@define(eq=False)
class FoundObject:
    body: Body
    info: ObjectInfo
    outcome: str
    stored_at: float


@define(eq=False)
class FakeLibrary:
    """Has what the test puts in; ``coming`` are Deferreds that the test fires."""

    whole: dict[Name, FoundObject] = field(factory=dict)
    coming: dict[Name, list[Deferred[FoundObject]]] = field(factory=dict)
    asked: list[Name] = field(factory=list)
    peeked: list[Name] = field(factory=list)

    def put(self, stream: str, rendition: str, name: str, data: bytes, stored_at: float = 0.0) -> FoundObject:
        info = ObjectInfo(name, len(data), hashlib.sha256(data).hexdigest())
        found = self.whole[stream, rendition, name] = FoundObject(Body.whole(data), info, "hit", stored_at)
        return found

    def get_cached(self, stream: str, rendition: str, name: str) -> FoundObject | None:
        self.peeked.append((stream, rendition, name))
        return self.whole.get((stream, rendition, name))

    def is_known(self, stream: str, rendition: str, name: str) -> bool:
        return (stream, rendition, name) in self.whole or (stream, rendition, name) in self.coming

    def get(self, stream: str, rendition: str, name: str) -> Deferred[FoundObject]:
        self.asked.append((stream, rendition, name))
        waiting = self.coming.get((stream, rendition, name))
        if waiting is None:
            return fail(LookupError(name))
        waiting.append(Deferred())
        return waiting[-1]


@define(eq=False)
class FakeWindows:
    windows: dict[str, Window] = field(factory=dict)
    listeners: list[Callable[[str, object], None]] = field(factory=list)

    def window(self, stream: str) -> Window | None:
        return self.windows.get(stream)

    def is_on_air(self, stream: str) -> bool:
        window = self.windows.get(stream)
        return window is not None and window.is_on_air

    def subscribe(self, changed: Callable[[str, object], None]) -> None:
        self.listeners.append(changed)

    def put(self, stream: str, window: Window | None) -> None:
        if window is None:
            self.windows.pop(stream, None)
        else:
            self.windows[stream] = window
        for changed in self.listeners:
            changed(stream, None)


@define(eq=False)
class FakeStates:
    texts: dict[str, bytes] = field(factory=dict)

    def every(self) -> bytes:
        return b"[" + b",".join(self.texts.values()) + b"]"

    def since(self, token: str) -> tuple[bytes, str]:
        return (b"", token) if token == "ab-2" else (self.every(), "ab-2")

    def one(self, stream: str) -> bytes | None:
        return self.texts.get(stream)


class FakeTakes:
    def answer(self, kind: str, stream: str, epoch: str, signature: str) -> tuple[str, bytes]:
        return "200 OK", b"{}"

    def epochs(self) -> bytes:
        return b'{"s":1}'


@define(eq=False)
class Edge:
    """
    The whole HTTP side, without a reactor. Without ``is_hot`` Klein answers everything. ``known`` says what is known of
    streams that the test does not push.
    """

    is_hot: bool = True
    limits: HttpLimits = field(factory=HttpLimits)
    guide: EdgeSelector | None = None
    proxies: TrustedProxies = field(factory=TrustedProxies)
    signatures: Signatures | None = None
    takes: Takes | None = None
    known: AvailabilityLookup | None = None
    push: PushLimits = field(factory=PushLimits)
    loop: Loop = field(factory=Loop)
    library: FakeLibrary = field(factory=FakeLibrary)
    windows: FakeWindows = field(factory=FakeWindows)
    states: FakeStates = field(factory=FakeStates)
    metrics: Metrics = field(factory=Metrics)
    feeds: Feeds = field(init=False)
    beginnings: Beginnings = field(init=False)
    fast_path: HlsFastPath | None = field(init=False)
    site: HttpSite = field(init=False)
    app: Hls = field(init=False)

    def __attrs_post_init__(self) -> None:
        responses, counters = ResponseFactory("edge-1"), RequestCounters(self.metrics)
        playlists, objects = Playlists(self.windows, responses), Objects(self.library, responses)
        self.beginnings = Beginnings(playlists, 3, 100, self.loop, self.metrics)
        lookup = Lookup(playlists, objects, responses, self.loop, self.beginnings)
        self.feeds = Feeds(self.push, self.loop, self.metrics, known=self.known)
        flv = FlvPush(ViewerAdmission(self.feeds), responses)
        clock = self.loop.seconds
        steering = Steering("edge-1", self.guide, self.proxies, self.windows.window, responses, clock)
        self.app = Hls(lookup, responses, counters, clock, self.states, flv, takes=self.takes, steering=steering)
        prepared = PreparedResponses(responses, counters, clock)
        self.fast_path = HlsFastPath(lookup, prepared, steering, flv, flv.admission.refused) if self.is_hot else None
        self.site = HttpSite(
            self.app.resource(),
            responses,
            counters,
            self.loop,
            limits=self.limits,
            fast_path=self.fast_path,
            admission=ReadOnly(responses, TAKE_PATH),
            protocol="hls",
            signatures=self.signatures,
            proxies=self.proxies,
        )
        self.site.startFactory()

    def client(self, receive_bytes: int = 0) -> Client:
        client = connect(self.site, self.loop, receive_bytes)
        assert client is not None
        return client

    def pass_time(self, seconds: int) -> None:
        """Let so many seconds pass, as a running process lives through them."""
        for _ in range(seconds):
            self.loop.advance(1)
            while self.loop.turn():
                pass

    def counted(self, kind: str, outcome: str) -> float:
        labels = {"kind": kind, "outcome": outcome}
        return self.metrics.registry.get_sample_value("livestream_http_requests_total", labels) or 0.0

    def limited(self, limit: str) -> float:
        return self.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": limit}) or 0.0
