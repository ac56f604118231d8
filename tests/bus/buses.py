"""Buses on a real Redis, and what tests say to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.task import deferLater

from livestream.bus.interface import TemporarilyUnavailable, Tier
from livestream.bus.redis import RedisBus
from livestream.model.segments import Announcement, SegmentAnnounced
from tests.packaging.windows import announced

Buses = Callable[..., RedisBus]
EPOCH = 1_000_000_000_000_000
SECRET = "the secret of these tests"
LOG = "livestream:2:ingest:log:show:"


def announcement(msn: int, epoch: int = EPOCH, first: int = 100) -> SegmentAnnounced:
    """A segment of long ago: what is of the future is not believed."""
    told = announced(msn, epoch=epoch, first=first)
    return attrs.evolve(told, segment=attrs.evolve(told.segment, starts_at_ms=EPOCH // 1000 + 3000 * msn))


@define(eq=False)
class Heard:
    news: list[Announcement] = field(factory=list)
    recalled: list[Announcement] = field(factory=list)

    def announced(self, announcement: Announcement) -> None:
        self.news.append(announcement)

    def recovered(self, announcements: Sequence[Announcement]) -> None:
        self.recalled += announcements


@define(eq=False)
class Speaker:
    """An ingest's end of the bus, and its log."""

    bus: RedisBus
    told: list[Announcement] = field(factory=list)
    next: int = 100

    def __attrs_post_init__(self) -> None:
        self.bus.restore_from(Tier.INGEST, self)

    def speak(self) -> None:
        self.told.append(announcement(self.next))
        self.next += 1
        self.bus.accept(self.told[-1]).addErrback(lambda failure: failure.trap(TemporarilyUnavailable) and None)

    def streams(self) -> list[str]:
        return ["show"] if self.told else []

    def announcements(self, stream: str) -> list[Announcement]:
        return self.told


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await deferLater(reactor, 0.02)
    raise AssertionError("the deadline has passed")


async def conversation(buses: Buses) -> tuple[Speaker, RedisBus, Heard]:
    """Someone who speaks and someone who hears it."""
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    await until(lambda: listener.is_healthy and speaker.bus.is_healthy)
    speaker.speak()
    await until(lambda: heard.news)
    return speaker, listener, heard


async def redis(bus: RedisBus, *words: object) -> Any:
    """Have Redis do something on the connection of ``bus``."""
    return await bus._commands.protocol.execute_command(*words)
