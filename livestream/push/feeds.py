"""Every feed of a node: found by name, relayed while it has viewers, and released a while after the last has left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from livestream.metrics import Metrics
from livestream.model.admission import PushProtocol, Reason, Refusal
from livestream.model.names import SOURCE
from livestream.net.token_bucket import TokenBucket
from livestream.net.waiting import WaitingViewers
from livestream.push.feed import Feed, FeedPhase, PushLimits
from livestream.push.timeline_splice import TimelineOrigin

UNKNOWN_S = 1.0
"""How long a feed that upstream does not have is kept, so that upstream is not asked for each who requests it."""

BURST_S = 2.0
"""The burst of unknown names that may be requested upstream, in seconds of their rate."""

MAX_RENDITIONS = 16
"""An unknown rendition of a stream is only requested while fewer of its renditions than this are open."""


class FeedSource(Protocol):
    """Who can get a feed's frames from elsewhere."""

    def start(self, feed: Feed, on_end: Callable[[Feed], None]) -> None:
        """Feed it, or call its ``unavailable``; call ``on_end`` when its broadcast has ended."""

    def stop(self, feed: Feed) -> None:
        """Nobody watches it any more, or it has ended. Called once for every ``start``."""


class Availability(Enum):
    """What a node knows of a rendition of a stream."""

    LIVE = "it is live"
    NOT_LIVE = "it is not"
    UNKNOWN = "the node has not learnt lately what is live, or the rendition may begin soon"


class AvailabilityLookup(Protocol):
    """Who knows what is live elsewhere."""

    def availability(self, stream: str, rendition: str) -> Availability: ...


@define(eq=False)
class Feeds:
    """
    The feeds of a node. At the ingest a broadcast begins and ends them. Elsewhere the ``source`` relays what viewers
    want of what is live, according to ``known``. What is not live costs nothing and is not requested upstream; where it
    is unknown, ``limits.unknown_names_per_s`` bounds how many names are, for all viewers together.

    ``max_feeds`` bounds how many feeds viewers can open.
    """

    limits: PushLimits
    clock: IReactorTime
    metrics: Metrics
    source: FeedSource | None = None
    known: AvailabilityLookup | None = None
    max_feeds: int = 4096
    audience: int = field(default=0, init=False)
    """How many viewers watch, or wait to."""
    waiting: WaitingViewers = field(init=False)
    _unknown: TokenBucket = field(init=False)
    _feeds: dict[tuple[str, str], Feed] = field(factory=dict, init=False)
    _renditions: Counter[str] = field(factory=Counter, init=False)
    _local: set[Feed] = field(factory=set, init=False)
    _lingering: dict[Feed, IDelayedCall] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.waiting = WaitingViewers(self.clock)
        self._unknown = TokenBucket(*_rate(self.limits))
        for protocol in PushProtocol:
            self.metrics.viewers.labels(protocol.value)

    def __len__(self) -> int:
        return len(self._feeds)

    def viewers(self) -> Counter[str]:
        """How many watch each stream here."""
        viewers: Counter[str] = Counter()
        for feed in self._feeds.values():
            viewers[feed.stream] += feed.viewers
        return viewers

    def stop(self) -> None:
        """The process ends. No viewer is told that a broadcast is over, for they go on elsewhere."""
        for feed in list(self._feeds.values()):
            self._remove(feed)

    def begin(self, stream: str, rendition: str, origin: TimelineOrigin) -> Feed:
        """The feed of a broadcast of this process; :meth:`end` it when the broadcast is over."""
        feed = self._feeds.get((stream, rendition))
        if feed is None:
            feed = self._open(stream, rendition)
        self._cancel_linger(feed)
        if self.source is not None and feed not in self._local:
            self.source.stop(feed)
        self._local.add(feed)
        feed.set_origin(origin)
        self.waiting.announced(stream)
        return feed

    def end(self, feed: Feed) -> None:
        """End a feed for its viewers; the name is free for the next."""
        if self._remove(feed):
            feed.end()

    def cut(self, feed: Feed) -> None:
        """Abort the viewers of a feed whose broadcast goes on at another node; the name is free."""
        if self._remove(feed):
            feed.cut()

    def availability(self, stream: str, rendition: str) -> Availability:
        """What is known here of a rendition of a stream; what a broadcast of this process feeds is live."""
        feed = self._feeds.get((stream, rendition))
        if feed is not None and (feed in self._local or feed.phase is FeedPhase.LIVE):
            return Availability.LIVE
        return Availability.NOT_LIVE if self.known is None else self.known.availability(stream, rendition)

    def may_wait(self) -> bool:
        """Whether one more viewer may wait for a broadcast to begin."""
        if len(self.waiting) < self.limits.waiting_players:
            return True
        self.metrics.limit_hit("waiting_players")
        return False

    def refusal(self, stream: str, rendition: str) -> Refusal | None:
        """Why nobody can join a feed now; ``None`` where somebody can."""
        if (stream, rendition) in self._feeds:
            return None
        availability = self.availability(stream, rendition)
        if availability is Availability.NOT_LIVE:
            what = stream if rendition == SOURCE else f"{rendition} of {stream}"
            return Refusal(Reason.NOT_LIVE, f"{what} is not live")
        if len(self._feeds) >= self.max_feeds:
            self.metrics.limit_hit("feeds")
            return Refusal(Reason.TOO_MANY_STREAMS, "this server has no room for more streams")
        if availability is Availability.UNKNOWN and not self._may_request(stream):
            self.metrics.limit_hit("unknown_names")
            message = f"cannot determine now whether {stream} is live; try again in a few seconds"
            return Refusal(Reason.UNAVAILABLE, message)
        return None

    def join(self, stream: str, rendition: str) -> Feed:
        """
        The feed for a viewer, who must :meth:`leave` it in the end.

        :raises Refusal: there is none, or it cannot be had now.
        """
        feed = self._feeds.get((stream, rendition))
        if feed is not None:
            self._cancel_linger(feed)
            return feed
        refusal = self.refusal(stream, rendition)
        if refusal is not None:
            raise refusal
        if self.availability(stream, rendition) is Availability.UNKNOWN:
            self._unknown.try_take(self.clock.seconds())
        feed = self._open(stream, rendition)
        if self.source is not None:
            self.source.start(feed, self.end)
        return feed

    def leave(self, feed: Feed) -> None:
        """A viewer has left, or was refused after it had joined."""
        if feed.is_in_use or feed in self._local or feed in self._lingering or not self._has(feed):
            return
        linger_s = self.limits.linger_s if feed.phase is FeedPhase.LIVE else min(UNKNOWN_S, self.limits.linger_s)
        self._lingering[feed] = self.clock.callLater(linger_s, self._expire, feed)

    def renew(self, limits: PushLimits) -> None:
        """Apply new limits to viewers who come from here on."""
        self.limits = limits
        self._unknown.rate, self._unknown.burst = _rate(limits)

    def _may_request(self, stream: str) -> bool:
        return self._unknown.has_token(self.clock.seconds()) and self._renditions[stream] < MAX_RENDITIONS

    def close_stalled(self) -> None:
        """Close the viewers who read nothing; to be called about every second."""
        for feed in list(self._feeds.values()):
            feed.close_stalled(self.limits.stall_s)

    def _open(self, stream: str, rendition: str) -> Feed:
        is_relayed = self.source is not None
        feed = Feed(stream, rendition, self.limits, self.clock, self.metrics, is_relayed)
        self._feeds[stream, rendition] = feed
        self._renditions[stream] += 1
        return feed

    def _has(self, feed: Feed) -> bool:
        return self._feeds.get((feed.stream, feed.rendition)) is feed

    def _cancel_linger(self, feed: Feed) -> None:
        call = self._lingering.pop(feed, None)
        if call is not None:
            call.cancel()

    def _expire(self, feed: Feed) -> None:
        del self._lingering[feed]
        if self._remove(feed):
            feed.release()

    def _remove(self, feed: Feed) -> bool:
        if not self._has(feed):
            return False
        del self._feeds[feed.stream, feed.rendition]
        self._renditions[feed.stream] -= 1
        if not self._renditions[feed.stream]:
            del self._renditions[feed.stream]
        self._cancel_linger(feed)
        if feed in self._local:
            self._local.discard(feed)
        elif self.source is not None:
            self.source.stop(feed)
        return True


def _rate(limits: PushLimits) -> tuple[float, float]:
    """The rate of unknown names that may be requested upstream, and its burst."""
    return limits.unknown_names_per_s, max(limits.unknown_names_per_s * BURST_S, 1.0)
