"""A Redis of a world, and the nodes' ends of it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from livestream.bus.head import Head
from livestream.bus.interface import AnnouncementLog, ClaimReply, Listener, TemporarilyUnavailable, Tier
from livestream.model.segments import Announcement, Superseded

if TYPE_CHECKING:
    from .world import World

REDIS = "R"


@define(eq=False)
class Redis:
    """What a Redis keeps."""

    heads: dict[str, Head] = field(factory=dict)
    logs: dict[tuple[Tier, str, str], deque[Announcement]] = field(factory=dict)
    hearers: list[SimBus] = field(factory=list)


@define(eq=False)
class SimBus:
    """One node's end of the bus, as `livestream.bus.redis.RedisBus` is."""

    world: World
    node: str
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list))
    _logs: dict[Tier, AnnouncementLog] = field(factory=dict)
    _was_up: bool = True

    def __attrs_post_init__(self) -> None:
        self.world.redis.hearers.append(self)
        self.world.clock.callLater(0.5, self._look)

    @property
    def is_healthy(self) -> bool:
        return self.world.reaches(REDIS, self.node)

    @property
    def has_caught_up(self) -> bool:
        return self.is_healthy

    def claim(self, stream: str, epoch: int) -> Deferred[ClaimReply]:
        def answer() -> ClaimReply:
            head = self.world.redis.heads.setdefault(stream, Head())
            before, owner, silent_s = head.position, head.owner, head.silent_s(self.world.now)
            return ClaimReply(head.claim(self.node, epoch), before, owner, silent_s)

        return self._ask(answer)

    def accept(self, announcement: Announcement) -> Deferred[None]:
        def answer() -> int:
            try:
                head = self.world.redis.heads.setdefault(announcement.stream, Head())
                head.accept(self.node, announcement, self.world.now)
            except Superseded as error:
                return error.epoch
            self._append(Tier.INGEST, announcement)
            return 0

        def read(younger: int) -> None:
            if younger:
                raise Superseded(younger)

        return self._ask(answer).addCallback(read)

    def release(self, stream: str, epoch: int) -> None:
        self.world.carry(self.node, REDIS, lambda: self.world.redis.heads[stream].release(epoch))

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        self.world.carry(self.node, REDIS, lambda: self._append(tier, announcement))

    def restore_from(self, tier: Tier, log: AnnouncementLog) -> None:
        self._logs[tier] = log

    def discard(self, tier: Tier, stream: str) -> None:
        self.world.carry(self.node, REDIS, lambda: self.world.redis.logs.pop((tier, stream, self.node), None))

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        self._recover(tier)

    def fetch_state(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        logs = self.world.redis.logs

        def answer() -> list[Announcement]:
            return [told for (of, name, _), log in logs.items() if of is tier and name == stream for told in log]

        return self._ask(answer).addErrback(lambda _: ())

    def send(self, channel: str, message: bytes) -> None: ...
    def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None: ...
    def retain(self, channel: str, name: str, message: bytes | None) -> None: ...
    def retained(self, channel: str) -> Deferred[Sequence[bytes]]:
        return succeed(())

    def _ask(self, answer: Callable[[], Any]) -> Deferred[Any]:
        if not self.is_healthy:
            return fail(TemporarilyUnavailable("Redis is unavailable"))
        return self.world.request(self.node, REDIS, answer)

    def _append(self, tier: Tier, announcement: Announcement) -> None:
        key = (tier, announcement.stream, self.node)
        log = self.world.redis.logs.get(key)
        if log is None:
            log = self.world.redis.logs[key] = deque(self._known(tier, announcement.stream), maxlen=48)
        log.append(announcement)
        for bus in self.world.redis.hearers:
            if self.world.random.random() < 0.97:
                self.world.carry(REDIS, bus.node, partial(bus.hear, tier, announcement))

    def _known(self, tier: Tier, stream: str) -> Sequence[Announcement]:
        """A log that was lost is put back."""
        return self._logs[tier].announcements(stream) if tier in self._logs else ()

    def hear(self, tier: Tier, announcement: Announcement) -> None:
        for listener in self._listeners[tier]:
            listener.announced(announcement)

    def _recover(self, tier: Tier) -> None:
        for listener in self._listeners[tier]:
            self.fetch_state(tier, "show").addCallback(partial(self._recovered, listener))

    def _recovered(self, listener: Listener, announcements: Sequence[Announcement]) -> None:
        if announcements:
            listener.recovered(announcements)

    def _look(self) -> None:
        self.world.clock.callLater(0.5, self._look)
        is_up, self._was_up = self.is_healthy, self.is_healthy
        if is_up and not self._was_up:
            for tier, log in self._logs.items():
                for stream in log.streams():
                    self.world.redis.logs[tier, stream, self.node] = deque(log.announcements(stream), maxlen=48)
            for tier in self._listeners:
                self._recover(tier)
