"""One viewer's stay with a feed, whatever protocol it speaks: asks, waits, watches, and leaves once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred

from livestream.model.names import InvalidName, rendition_name, stream_name
from livestream.net.tcp import TcpTuning, tune
from livestream.push.backlog import Backlog
from livestream.push.fanout import Fanout
from livestream.push.feed import Feed, NotLive, Wire
from livestream.push.feeds import Feeds, Standing
from livestream.push.viewer import Outlet, Seat, Viewer

HEARD_ABOVE_S = 2.0
"""
The tier above may hear of a broadcast some moments after this node: what is live as far as is known here, and refused
there, is asked for again for so long.
"""


@define(eq=False)
class Visit:
    """Made by :func:`visit`; must be left in the end, watched or not. The viewer at ``peer`` waits ``until`` then."""

    feeds: Feeds
    stream: str
    rendition: str
    wire: Wire
    peer: str
    until: float
    _feed: Feed | None = field(default=None, init=False)
    _ready: Deferred[None] | None = field(default=None, init=False)
    _viewer: Viewer | None = field(default=None, init=False)
    _fanout: Fanout | None = field(default=None, init=False)
    _is_paused: bool = field(default=False, init=False)
    _has_left: bool = field(default=False, init=False)

    def ready(self) -> Deferred[None]:
        """
        Fire when the feed can be watched. It is cancelled by leaving.

        It fails with `NotLive` if it cannot, and did not begin in time either.
        """
        self._ready = Deferred.fromCoroutine(self._begin())
        return self._ready

    def watch(self, transport: Outlet, seat: Seat) -> None:
        """Have the feed pushed into a transport, from the next tick on."""
        assert self._feed is not None
        self._ready = None
        limits = self.feeds.limits
        self._viewer = Viewer(transport, seat, Backlog(limits.slow_bytes, round(limits.slow_s * 1000)))
        if self._viewer.direct is not None:
            tune(transport, TcpTuning(limits.send_buffer_bytes))
        self._fanout = self._feed.fanout(self.wire)
        self._fanout.attach(self._viewer)
        self.feeds.metrics.viewers.labels(self.wire.value).inc()

    def pause(self, paused: bool) -> None:
        """Stop or go on, at the viewer's wish; what it has already is no wish."""
        if self._viewer is not None and self._fanout is not None and paused is not self._is_paused:
            self._is_paused = paused
            if paused:
                self._fanout.pause(self._viewer)
            else:
                self._fanout.resume(self._viewer)

    def wrote(self) -> None:
        """The viewer's connection has written something of its own (see :meth:`Fanout.wrote`)."""
        if self._viewer is not None and self._fanout is not None:
            self._fanout.wrote(self._viewer)

    def at_key_frame(self, action: Callable[[], None]) -> None:
        """Have something done when the viewer has been given the next key frame, or now, before it watches."""
        if self._fanout is None:
            action()
        else:
            self._fanout.after_key_frame(action)

    def leave(self) -> None:
        """The viewer is gone: its transport must not be written to again."""
        if self._has_left:
            return
        self._has_left = True
        if self._ready is not None:
            self._ready.cancel()
        viewer, self._viewer = self._viewer, None  # which refers to this
        if viewer is not None and self._fanout is not None:
            self._fanout.detach(viewer)
            self.feeds.metrics.viewers.labels(self.wire.value).dec()
        self._leave_feed()
        self.feeds.visitors -= 1

    async def _begin(self) -> None:
        """What is not live is waited for without asking anybody, and joined when something is announced of it."""
        feeds = self.feeds
        while True:
            try:
                self._feed = feeds.join(self.stream, self.rendition)
                await self._feed.ready(self._frames_by())
                return
            except NotLive:
                self._leave_feed()
                if feeds.clock.seconds() >= self.until or not feeds.may_wait():
                    feeds.note_refused(self.stream, self.wire, self.peer)
                    raise
            await feeds.waiting.wait(self.stream, self.until - feeds.clock.seconds())

    def _frames_by(self) -> float:
        """Until when frames are waited for. Of what is not known to be live here, the tier above is asked once."""
        if self.feeds.standing(self.stream, self.rendition) is not Standing.LIVE:
            return 0.0
        return max(self.until, self.feeds.clock.seconds() + HEARD_ABOVE_S)

    def _leave_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            self.feeds.left(feed)


def visit(feeds: Feeds, stream: str, rendition: str, wire: Wire, peer: str, wait_s: float = 0.0) -> Visit:
    """
    Begin a viewer's stay with the feed of these names, as the viewer gave them. It may wait ``wait_s`` seconds for it.

    :raises NotLive: there is no such feed, and it is not waited for.
    """
    try:
        refusal = feeds.refusal(stream_name(stream), rendition_name(rendition), wait_s)
    except InvalidName as error:
        refusal = NotLive(str(error))
    if refusal is not None:
        feeds.note_refused(stream, wire, peer)
        raise refusal
    feeds.visitors += 1
    return Visit(feeds, stream, rendition, wire, peer, feeds.clock.seconds() + wait_s)
