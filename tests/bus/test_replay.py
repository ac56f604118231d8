"""What was announced is true for good: to announce it again says nothing, to a node that has just started either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor

from livestream.bus.announcements import encode
from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.redis import RedisBus
from livestream.bus.redis_codec import PAST_MS
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, Epoch, EpochBegan, StreamEnded
from livestream.packaging.window import Window
from livestream.signing import seal
from tests.bus.buses import Buses, redis, until
from tests.bus.conftest import Server
from tests.packaging.windows import announced

SECRET = "the secret of these tests"
LENGTH = 6
APART = pytest.mark.parametrize("clock_s", [-290, 0, 290])


@define(eq=False)
class Broadcast:
    """A stream of two turns, the first of which has ended; ``recording`` has all that was said of it on the bus."""

    bus: RedisBus
    recording: list[bytes] = field(factory=list)
    now_ms: int = field(factory=lambda: int(reactor.seconds() * 1000))
    before: Epoch = field(init=False)
    epoch: Epoch = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.before, self.epoch = Epoch((self.now_ms - 60_000) * 1000, 100), Epoch((self.now_ms - 30_000) * 1000, 110)
        self.bus.subscribe(Tier.INGEST.value, self.recording.append)

    def segment(self, msn: int, epoch: Epoch, age_ms: int = 0) -> Announcement:
        told = announced(msn, epoch=epoch.number, first=epoch.first_msn)
        starts_at_ms = self.now_ms - 60_000 + 3000 * (msn - 100) - age_ms
        return attrs.evolve(told, segment=attrs.evolve(told.segment, starts_at_ms=starts_at_ms))

    def first_turn(self) -> list[Announcement]:
        segments = [self.segment(msn, self.before) for msn in range(100, 110)]
        return [EpochBegan("show", self.before), *segments, StreamEnded("show", self.before, 109)]

    def refused(self) -> bytes:
        """What the first writer would have said if it had gone on, and Redis had not refused it."""
        return seal(encode(self.segment(128, self.before)), SECRET)

    def second_turn(self) -> list[Announcement]:
        return [EpochBegan("show", self.epoch), *(self.segment(msn, self.epoch) for msn in range(110, 130))]

    async def announce(self, announcements: Sequence[Announcement]) -> list[bytes]:
        """Say all this, in order; the result is what was recorded of it."""
        wanted = len(self.recording) + len(announcements)
        for announcement in announcements:
            await self.bus.accept(announcement)
        await until(lambda: len(self.recording) == wanted)
        return self.recording[wanted - len(announcements) :]

    async def replay(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            await redis(self.bus, "PUBLISH", "livestream:2:ingest", message)


@define(eq=False)
class Late:
    """A node that starts, and what it makes of the stream; ``told`` is what its subscribers hear."""

    bus: RedisBus
    known_streams: KnownStreams = field(init=False)
    told: list[Announcement | None] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.known_streams = KnownStreams(self.bus, Tier.INGEST, None, LENGTH, self.bus.reactor, Metrics())
        self.known_streams.subscribe(lambda _, announcement: self.told.append(announcement))

    def window(self) -> Window | None:
        return self.known_streams.window("show")

    def shown(self) -> Any:
        window = self.window()
        return window and (window.listed("source"), window.is_ended, window.position(), window.epoch, window.target_s)

    def newest(self) -> int:
        window = self.window()
        return (window and window.last_msn) or 0

    def count(self) -> float:
        """How many messages have been looked at."""
        counter = self.known_streams.metrics.bus_messages
        return float(sum(counter.labels(outcome)._value.get() for outcome in ("news", "known")))


@pytest.fixture
def starts(buses: Buses) -> Iterator[Callable[[float], Late]]:
    """Starts a node whose clock is so many seconds ahead."""
    late: list[Late] = []

    def start(clock_s: float) -> Late:
        late.append(Late(buses(secret=SECRET, clock_s=clock_s)))
        late[-1].known_streams.start()
        return late[-1]

    yield start
    for each in late:
        each.known_streams.stop()


async def broadcast(server: Server, buses: Buses) -> Broadcast:
    server.start()
    show = Broadcast(buses("ingest-1", SECRET))
    await until(lambda: show.bus.is_healthy)
    return show


@APART
@pytest_twisted.ensureDeferred
async def test_a_recording_of_the_turn_before_and_of_its_end_changes_nothing(
    server: Server, buses: Buses, starts: Callable[[float], Late], clock_s: float
) -> None:
    show = await broadcast(server, buses)
    recording = [*await show.announce(show.first_turn()), show.refused()]
    await show.announce(show.second_turn())
    late = starts(clock_s)
    await until(lambda: late.newest() == 129)
    shown, known = late.shown(), late.window()
    assert known is not None and known.is_live and known.epoch == show.epoch.number
    late.told.clear()
    counted = late.count()
    await show.replay([*recording, *reversed(recording)])
    await until(lambda: late.count() == counted + 2 * len(recording))
    assert late.shown() == shown and late.told == []


@APART
@pytest_twisted.ensureDeferred
async def test_a_recording_that_comes_before_all_else_changes_nothing_either(
    server: Server, buses: Buses, starts: Callable[[float], Late], clock_s: float
) -> None:
    show = await broadcast(server, buses)
    recording = [*await show.announce(show.first_turn()), show.refused()]
    await show.announce(show.second_turn())
    sound, fooled = starts(0), starts(clock_s)
    for _ in range(20):
        await show.replay(recording[::-1])
    await until(lambda: sound.newest() == fooled.newest() == 129)
    await show.announce([show.segment(130, show.epoch)])
    await until(lambda: sound.newest() == fooled.newest() == 130)
    window = fooled.window()
    assert window is not None and window.is_live and fooled.shown() == sound.shown()


@pytest_twisted.ensureDeferred
async def test_a_recording_without_the_end_does_not_bring_back_what_is_over(
    server: Server, buses: Buses, starts: Callable[[float], Late]
) -> None:
    show = await broadcast(server, buses)
    *recording, _ = await show.announce(show.first_turn())
    await redis(show.bus, "ZREM", "livestream:2:ingest:streams", "show")  # as a minute after its end
    late = starts(0)
    await until(lambda: late.bus.is_healthy)
    await show.replay(recording)
    await until(lambda: late.newest() == 109)
    window = late.window()
    assert window is not None and window.is_ended and not window.is_live


@APART
@pytest_twisted.ensureDeferred
async def test_a_list_of_twenty_minutes_is_taken_in_and_what_is_older_than_that_by_any_clock_is_not(
    server: Server, buses: Buses, starts: Callable[[float], Late], clock_s: float
) -> None:
    show = await broadcast(server, buses)
    late = starts(clock_s)
    await until(lambda: late.bus.is_healthy)
    await show.announce([show.segment(110, show.epoch, age_ms=PAST_MS + 300_000)])
    await show.announce([show.segment(111, show.epoch, age_ms=20 * 60_000)])
    await until(lambda: late.newest() == 111)
    window = late.window()
    assert window is not None and [each.msn for each in window.listed("source")] == [111]
