"""Every feed of a tier: found by name, supplied when it is wanted, let go a while after it no longer is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from livestream.metrics import Metrics
from livestream.model.names import SOURCE
from livestream.net.log_summary import LogSummary
from livestream.net.token_bucket import TokenBucket
from livestream.push.feed import CannotTell, Feed, NotLive, Phase, PushLimits, Wire
from livestream.push.timeline_splice import Lineage
from livestream.push.waiting import WaitingPlayers

UNKNOWN_S = 1.0
"""How long it is remembered that a stream is not live, so that asking for it often is not asked above as often."""

BURST_S = 2.0
"""So many seconds' worth of unknown names may be asked for at once."""

MOST_RENDITIONS = 16
"""So many renditions of one stream are open at most when another is asked for of which nobody has heard."""


REFUSED = "{count} requests for streams that are not live in the last {seconds} s, such as {what} from {peer}"


class Supply(Protocol):
    """Who can have a feed's frames brought here."""

    def wanted(self, feed: Feed, over_for: Callable[[Feed], None]) -> None:
        """Somebody wants it: feed it, or call its ``absent``; call ``over_for`` when its broadcast has ended."""

    def unwanted(self, feed: Feed) -> None:
        """It is let go, or over. Called once for every ``wanted``."""


class Standing(Enum):
    """What a node knows of a rendition of a stream."""

    LIVE = "it is live"
    NOT_LIVE = "it is not"
    UNKNOWN = "the node has not heard what is live lately, or the rendition may be about to come"


class Known(Protocol):
    """Who knows what is live elsewhere."""

    def standing(self, stream: str, rendition: str) -> Standing: ...


@define(eq=False)
class Feeds:
    """
    The feeds of a tier. At the ingest a broadcast begins and ends them; elsewhere ``supply`` brings what is wanted of
    what is live as far as is ``known``. What is not live costs nothing here, and nobody is asked for it; where the node
    cannot tell, ``limits.unknown_names_per_s`` bounds how many names are asked for, of all viewers together.

    ``most`` bounds how many feeds viewers can open.
    """

    limits: PushLimits
    clock: IReactorTime
    metrics: Metrics
    supply: Supply | None = None
    known: Known | None = None
    most: int = 4096
    visitors: int = field(default=0, init=False)
    """How many have come and not left."""
    refused: LogSummary = field()
    waiting: WaitingPlayers = field(init=False)
    _unknown: TokenBucket = field(init=False)
    _feeds: dict[tuple[str, str], Feed] = field(factory=dict, init=False)
    _renditions: Counter[str] = field(factory=Counter, init=False)
    _broadcast: set[Feed] = field(factory=set, init=False)
    _lingering: dict[Feed, IDelayedCall] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    @refused.default
    def _refused(self) -> LogSummary:
        return LogSummary(self.log, REFUSED, self.clock, LogLevel.info)

    def __attrs_post_init__(self) -> None:
        self.waiting = WaitingPlayers(self.clock)
        self._unknown = TokenBucket(*_rate(self.limits))
        for wire in Wire:
            self.metrics.viewers.labels(wire.value)

    def __len__(self) -> int:
        return len(self._feeds)

    def viewers(self) -> Counter[str]:
        """How many watch each stream here."""
        viewers: Counter[str] = Counter()
        for feed in self._feeds.values():
            viewers[feed.stream] += feed.viewers
        return viewers

    def stop(self) -> None:
        """This process ends. Nobody is told that the broadcasts are over, for they are not."""
        for feed in list(self._feeds.values()):
            self._forget(feed)

    def begin(self, stream: str, rendition: str, lineage: Lineage) -> Feed:
        """A broadcast of this process begins to feed it; :meth:`end` it when the broadcast is over."""
        feed = self._feeds.get((stream, rendition))
        if feed is None:
            feed = self._open(stream, rendition)
        self._stay(feed)
        if self.supply is not None and feed not in self._broadcast:
            self.supply.unwanted(feed)
        self._broadcast.add(feed)
        feed.follow(lineage)
        self.waiting.announced(stream)
        return feed

    def end(self, feed: Feed) -> None:
        """A feed is over: its viewers are told, and the name is free for the next."""
        if self._forget(feed):
            feed.end()

    def cut(self, feed: Feed) -> None:
        """A feed's broadcast has gone to another node: its viewers' connections break, and the name is free."""
        if self._forget(feed):
            feed.cut()

    def standing(self, stream: str, rendition: str) -> Standing:
        """What is known here of a rendition of a stream; what a broadcast of this process feeds is live."""
        feed = self._feeds.get((stream, rendition))
        if feed is not None and (feed in self._broadcast or feed.phase is Phase.LIVE):
            return Standing.LIVE
        return Standing.NOT_LIVE if self.known is None else self.known.standing(stream, rendition)

    def refusal(self, stream: str, rendition: str, wait_s: float) -> NotLive | None:
        """Why somebody who wants a feed, and may wait so long, is refused at once; ``None`` where it is not."""
        refusal = self._refusal(stream, rendition)
        return None if refusal is not None and wait_s > 0 and self.may_wait() else refusal

    def note_refused(self, stream: str, wire: Wire, peer: str) -> None:
        """Have a refusal in the log, with others. What was typed into an RTMP program may be a publishing key."""
        is_http = wire in (Wire.FLV, Wire.FLV_WEBSOCKET)
        self.refused.note(what=f"'{stream}'" if is_http else "an RTMP play", peer=peer)

    def may_wait(self) -> bool:
        """Whether one more player may wait for a broadcast to begin."""
        if len(self.waiting) < self.limits.waiting_players:
            return True
        self.metrics.limit_hit("waiting_players")
        return False

    def _refusal(self, stream: str, rendition: str) -> NotLive | None:
        if (stream, rendition) in self._feeds:
            return None
        standing = self.standing(stream, rendition)
        if standing is Standing.NOT_LIVE:
            what = stream if rendition == SOURCE else f"{rendition} of {stream}"
            return NotLive(f"{what} is not live")
        if len(self._feeds) >= self.most:
            self.metrics.limit_hit("feeds")
            return NotLive("this server has no room for more streams")
        if standing is Standing.UNKNOWN and not self._may_ask(stream):
            self.metrics.limit_hit("unknown_names")
            return CannotTell(f"it cannot be found out now whether {stream} is live; try again in a few seconds")
        return None

    def join(self, stream: str, rendition: str) -> Feed:
        """
        The feed for somebody who wants it, who must say :meth:`left` in the end.

        :raises NotLive: there is none, or it cannot be had now.
        """
        feed = self._feeds.get((stream, rendition))
        if feed is not None:
            self._stay(feed)
            return feed
        refusal = self._refusal(stream, rendition)
        if refusal is not None:
            raise refusal
        if self.standing(stream, rendition) is Standing.UNKNOWN:
            self._unknown.try_take(self.clock.seconds())
        feed = self._open(stream, rendition)
        if self.supply is not None:
            self.supply.wanted(feed, self.end)
        return feed

    def left(self, feed: Feed) -> None:
        """Somebody has gone, or was refused."""
        if feed.is_wanted or feed in self._broadcast or feed in self._lingering or not self._has(feed):
            return
        linger_s = self.limits.linger_s if feed.phase is Phase.LIVE else min(UNKNOWN_S, self.limits.linger_s)
        self._lingering[feed] = self.clock.callLater(linger_s, self._let_go, feed)

    def renew(self, limits: PushLimits) -> None:
        """Take new limits, for viewers who come from here on."""
        self.limits = limits
        self._unknown.rate, self._unknown.burst = _rate(limits)

    def _may_ask(self, stream: str) -> bool:
        return self._unknown.has_token(self.clock.seconds()) and self._renditions[stream] < MOST_RENDITIONS

    def close_stalled(self) -> None:
        """Close the viewers who read nothing; to be called every second or so."""
        for feed in list(self._feeds.values()):
            feed.close_stalled(self.limits.stall_s)

    def _open(self, stream: str, rendition: str) -> Feed:
        is_relayed = self.supply is not None
        feed = Feed(stream, rendition, self.limits, self.clock, self.metrics, is_relayed)
        self._feeds[stream, rendition] = feed
        self._renditions[stream] += 1
        return feed

    def _has(self, feed: Feed) -> bool:
        return self._feeds.get((feed.stream, feed.rendition)) is feed

    def _stay(self, feed: Feed) -> None:
        call = self._lingering.pop(feed, None)
        if call is not None:
            call.cancel()

    def _let_go(self, feed: Feed) -> None:
        del self._lingering[feed]
        if self._forget(feed):
            feed.release()

    def _forget(self, feed: Feed) -> bool:
        if not self._has(feed):
            return False
        del self._feeds[feed.stream, feed.rendition]
        self._renditions[feed.stream] -= 1
        if not self._renditions[feed.stream]:
            del self._renditions[feed.stream]
        self._stay(feed)
        if feed in self._broadcast:
            self._broadcast.discard(feed)
        elif self.supply is not None:
            self.supply.unwanted(feed)
        return True


def _rate(limits: PushLimits) -> tuple[float, float]:
    """How many unknown names a second, and at once, the tier above is asked for."""
    return limits.unknown_names_per_s, max(limits.unknown_names_per_s * BURST_S, 1.0)
