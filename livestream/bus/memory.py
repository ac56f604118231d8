"""A bus within one process."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed

from livestream.bus.head import Head
from livestream.bus.interface import Listener, Log, Taken, Tier
from livestream.model.segments import Announcement, Superseded


@define(eq=False)
class MemoryBus:
    """Keeps the newest ``most`` announcements of each stream. ``node`` is the id of this process."""

    node: str = ""
    most: int = 256
    is_healthy: bool = field(default=True, init=False)
    has_caught_up: bool = field(default=True, init=False)
    _heads: dict[str, Head] = field(factory=dict, init=False)
    _logs: dict[tuple[Tier, str], deque[Announcement]] = field(factory=dict, init=False)
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list), init=False)
    _hearers: defaultdict[str, list[Callable[[bytes], None]]] = field(factory=lambda: defaultdict(list), init=False)
    _kept: defaultdict[str, dict[str, bytes]] = field(factory=lambda: defaultdict(dict), init=False)

    def take(self, stream: str, epoch: int) -> Deferred[Taken]:
        head = self._heads.setdefault(stream, Head())
        before, owner = head.position, head.owner
        return succeed(Taken(head.take(self.node, epoch), before, owner))

    def accept(self, announcement: Announcement) -> Deferred[None]:
        try:
            self._heads.setdefault(announcement.stream, Head()).accept(self.node, announcement)
        except Superseded as error:
            return fail(error)
        self.publish(Tier.INGEST, announcement)
        return succeed(None)

    def leave(self, stream: str, epoch: int) -> None:
        if stream in self._heads:
            self._heads[stream].leave(epoch)

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        announcement = evolve(announcement, node=announcement.node or self.node)
        self._logs.setdefault((tier, announcement.stream), deque(maxlen=self.most)).append(announcement)
        for listener in self._listeners[tier]:
            listener.announced(announcement)

    def restore_from(self, tier: Tier, log: Log) -> None:
        """Nothing is ever lost here."""

    def forget(self, tier: Tier, stream: str) -> None:
        self._logs.pop((tier, stream), None)

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        listener.recovered([each for (kept, _), log in self._logs.items() if kept is tier for each in log])

    def recall(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        return succeed(list(self._logs.get((tier, stream), ())))

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
