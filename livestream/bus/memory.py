"""The bus, and what is asked of every bus; in memory, for one process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from livestream.model import Announcement
from livestream.packaging.window import StreamState


class Tier(Enum):
    """Who announces: what an ingest has is for origins, what an origin has is for edges."""

    INGEST = "ingest"
    ORIGIN = "origin"


class Listener(Protocol):
    """Who hears what a tier announces."""

    def announced(self, announcement: Announcement) -> None: ...
    def recovered(self, states: Sequence[StreamState]) -> None:
        """All that is known of the tier's streams, at the beginning and whenever something may have been missed."""


class Bus(Protocol):
    """Carries announcements from one tier to the next. Nothing in the media path waits for it."""

    @property
    def is_healthy(self) -> bool:
        """Whether what is announced is heard at the moment."""

    def publish(self, tier: Tier, announcement: Announcement, state: StreamState) -> None:
        """Announce, and keep ``state`` for those who come later. It never waits and never raises."""

    def forget(self, tier: Tier, stream: str) -> None:
        """Keep nothing of a stream any more."""

    def release(self, tier: Tier, stream: str) -> None:
        """Another node announces a stream from here on: what was announced here is not to be kept any more."""

    def listen(self, tier: Tier, listener: Listener) -> None:
        """Tell ``listener`` what a tier announces from here on."""

    def recall(self, tier: Tier, stream: str) -> Deferred[StreamState | None]:
        """What is kept of a stream; ``None`` also when that cannot be found out in a second."""

    def tell(self, channel: str, message: bytes) -> None:
        """Say something to all who hear ``channel``, oneself included. It never waits and never raises."""

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Call ``heard`` with what is told on ``channel`` from here on, by whomever."""

    def keep(self, channel: str, name: str, message: bytes | None) -> None:
        """
        Keep the newest message of ``name`` for those who come later; ``None``: keep it no more.

        It never waits and never raises, and may be lost: keep it again now and then.
        """

    def kept(self, channel: str) -> Deferred[Sequence[bytes]]:
        """What is kept of every name, in no order, and at most so many as there may be; it fails if nobody answers."""


@define(eq=False)
class MemoryBus:
    """A bus within one process."""

    is_healthy: bool = field(default=True, init=False)
    _states: dict[tuple[Tier, str], StreamState] = field(factory=dict, init=False)
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list), init=False)
    _hearers: defaultdict[str, list[Callable[[bytes], None]]] = field(factory=lambda: defaultdict(list), init=False)
    _kept: defaultdict[str, dict[str, bytes]] = field(factory=lambda: defaultdict(dict), init=False)

    def publish(self, tier: Tier, announcement: Announcement, state: StreamState) -> None:
        self._states[tier, state.stream] = state
        for listener in self._listeners[tier]:
            listener.announced(announcement)

    def forget(self, tier: Tier, stream: str) -> None:
        self._states.pop((tier, stream), None)

    def release(self, tier: Tier, stream: str) -> None:
        """Whoever announces it has put another state in its place."""

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        listener.recovered([state for (kept, _), state in self._states.items() if kept is tier])

    def recall(self, tier: Tier, stream: str) -> Deferred[StreamState | None]:
        return succeed(self._states.get((tier, stream)))

    def tell(self, channel: str, message: bytes) -> None:
        for heard in self._hearers[channel]:
            heard(message)

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        self._hearers[channel].append(heard)

    def keep(self, channel: str, name: str, message: bytes | None) -> None:
        if message is None:
            self._kept[channel].pop(name, None)
        else:
            self._kept[channel][name] = message

    def kept(self, channel: str) -> Deferred[Sequence[bytes]]:
        return succeed(list(self._kept[channel].values()))
