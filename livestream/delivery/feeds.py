"""Every feed of a tier: found by name, supplied when it is wanted, let go a while after it no longer is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from livestream.delivery.feed import Feed, NotLive, Phase, PushLimits, Wire
from livestream.delivery.splice import Lineage
from livestream.metrics import Metrics

UNKNOWN_S = 1.0
"""How long it is remembered that a stream is not live, so that asking for it often is not asked above as often."""


class Supply(Protocol):
    """Who can have a feed's frames brought here."""

    def wanted(self, feed: Feed, over_for: Callable[[Feed], None]) -> None:
        """Somebody wants it: feed it, or call its ``absent``; call ``over_for`` when its broadcast has ended."""

    def unwanted(self, feed: Feed) -> None:
        """It is let go, or over. Called once for every ``wanted``."""


@define(eq=False)
class Feeds:
    """
    The feeds of a tier. At the ingest a broadcast begins and ends them; elsewhere ``supply`` brings what is wanted.

    ``most`` bounds how many names viewers can make this tier ask for.
    """

    limits: PushLimits
    clock: IReactorTime
    metrics: Metrics
    supply: Supply | None = None
    most: int = 4096
    visitors: int = field(default=0, init=False)
    """How many have joined and not left."""
    _feeds: dict[tuple[str, str], Feed] = field(factory=dict, init=False)
    _broadcast: set[Feed] = field(factory=set, init=False)
    _lingering: dict[Feed, IDelayedCall] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
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
        return feed

    def end(self, feed: Feed) -> None:
        """A feed is over: its viewers are told, and the name is free for the next."""
        if self._forget(feed):
            feed.end()

    def cut(self, feed: Feed) -> None:
        """A feed's broadcast has gone to another node: its viewers' connections break, and the name is free."""
        if self._forget(feed):
            feed.cut()

    def join(self, stream: str, rendition: str) -> Feed:
        """
        The feed for somebody who wants it, who must say :meth:`left` in the end.

        :raises NotLive: too many are open.
        """
        feed = self._feeds.get((stream, rendition))
        if feed is not None:
            self._stay(feed)
            self.visitors += 1
            return feed
        if len(self._feeds) >= self.most:
            raise NotLive("this server has no room for more streams")
        feed = self._open(stream, rendition)
        self.visitors += 1
        if self.supply is not None:
            self.supply.wanted(feed, self.end)
        else:
            feed.absent(f"{stream} is not live")
        return feed

    def left(self, feed: Feed) -> None:
        """Somebody has gone, or was refused."""
        self.visitors -= 1
        if feed.is_wanted or feed in self._broadcast or feed in self._lingering or not self._has(feed):
            return
        linger_s = self.limits.linger_s if feed.phase is Phase.LIVE else min(UNKNOWN_S, self.limits.linger_s)
        self._lingering[feed] = self.clock.callLater(linger_s, self._let_go, feed)

    def _open(self, stream: str, rendition: str) -> Feed:
        is_relayed = self.supply is not None
        feed = Feed(stream, rendition, self.limits, self.clock, self.metrics, is_relayed)
        self._feeds[stream, rendition] = feed
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
        self._stay(feed)
        if feed in self._broadcast:
            self._broadcast.discard(feed)
        elif self.supply is not None:
            self.supply.unwanted(feed)
        return True
