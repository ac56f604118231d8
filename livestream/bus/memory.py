"""A bus within one process."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed

from livestream.bus.head import Head
from livestream.bus.interface import AnnouncementLog, ClaimReply, Listener, Tier
from livestream.model.segments import Announcement, Superseded


@define(eq=False)
class MemoryBus:
    """Keeps the newest ``log_length`` announcements of each stream. ``node`` is the id of this process."""

    node: str = ""
    log_length: int = 256
    is_healthy: bool = field(default=True, init=False)
    has_caught_up: bool = field(default=True, init=False)
    _heads: dict[str, Head] = field(factory=dict, init=False)
    _logs: dict[tuple[Tier, str], deque[Announcement]] = field(factory=dict, init=False)
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list), init=False)
    _subscribers: defaultdict[str, list[Callable[[bytes], None]]] = field(factory=lambda: defaultdict(list), init=False)
    _kept: defaultdict[str, dict[str, bytes]] = field(factory=lambda: defaultdict(dict), init=False)

    def claim(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        head = self._heads.setdefault(stream, Head())
        before, owner = head.position, head.owner
        return succeed(ClaimReply(head.claim(self.node, epoch), before, owner))

    def accept(self, announcement: Announcement) -> Deferred[None]:
        try:
            self._heads.setdefault(announcement.stream, Head()).accept(self.node, announcement)
        except Superseded as error:
            return fail(error)
        self.publish(Tier.INGEST, announcement)
        return succeed(None)

    def release(self, stream: str, epoch: int) -> None:
        if stream in self._heads:
            self._heads[stream].release(epoch)

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        announcement = evolve(announcement, node=announcement.node or self.node)
        self._logs.setdefault((tier, announcement.stream), deque(maxlen=self.log_length)).append(announcement)
        for listener in self._listeners[tier]:
            listener.announced(announcement)

    def restore_from(self, tier: Tier, log: AnnouncementLog) -> None:
        """Nothing to do: this bus never loses its log."""

    def discard(self, tier: Tier, stream: str) -> None:
        self._logs.pop((tier, stream), None)

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        listener.recovered([each for (kept, _), log in self._logs.items() if kept is tier for each in log])

    def fetch_state(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        return succeed(list(self._logs.get((tier, stream), ())))

    def send(self, channel: str, message: bytes) -> None:
        for on_message in self._subscribers[channel]:
            on_message(message)

    def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        self._subscribers[channel].append(on_message)

    def retain(self, channel: str, name: str, message: bytes | None) -> None:
        if message is None:
            self._kept[channel].pop(name, None)
        else:
            self._kept[channel][name] = message

    def retained(self, channel: str) -> Deferred[Sequence[bytes]]:
        return succeed(list(self._kept[channel].values()))
