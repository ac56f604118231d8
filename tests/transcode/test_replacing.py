"""When a child is replaced and a rung given up, on a clock of the test's and with children that do as they are told."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.python.failure import Failure

from livestream.media.flv import avc_config, avc_frame
from livestream.metrics import Metrics
from livestream.model.frames import Frame
from livestream.transcode.commands import (
    Command,
    Done,
    Flush,
    OutOfMemory,
    Produced,
    RecordReader,
    Refused,
    Setup,
    Source,
    encode,
)
from livestream.transcode.ladder import Rung
from livestream.transcode.pool import DEATHS_S, IN_FLIGHT, MAX_DEATHS, Transcode, TranscoderPool
from tests.logs import logger_to

RUNGS = (Rung("180p", 180, 300), Rung("90p", 90, 150))


@define(eq=False)
class Pipe:
    """A child that has been told things, and answers when the test says so."""

    protocol: ProcessProtocol
    told: list[Command] = field(factory=list)
    signals: list[str] = field(factory=list)
    pid: int = 7

    def write(self, data: bytes) -> None:
        self.told += RecordReader().receive(data)

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def answer(self, *commands: Command) -> None:
        self.protocol.outReceived(b"".join(map(encode, commands)))

    def die(self) -> None:
        self.protocol.processEnded(Failure(ProcessTerminated(signal=11)))

    @property
    def times(self) -> list[int]:
        return [each.frame.pts_ms for each in self.told if isinstance(each, Source) and not each.frame.is_config]


class Spawning(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.children: list[Pipe] = []
        self.is_full = False

    def spawnProcess(self, protocol: ProcessProtocol, executable: str, args: Sequence[str], env: dict[str, str]) -> Any:
        if self.is_full:
            raise OSError("no more processes")
        child: Any = Pipe(protocol)
        protocol.transport = child
        self.children.append(child)
        return child


class Broadcast:
    """Feeds a second's GOPs of four pictures, and notes what comes."""

    def __init__(self) -> None:
        self.clock, self.metrics, self.fed = Spawning(), Metrics(), 0
        self.came: list[object] = []
        self.transcode = TranscoderPool(self.clock, self.metrics, "veryfast").open("cam", RUNGS, 720, self)
        self.transcode.feed(avc_config(b"record"), None)

    def feed(self, pictures: int) -> None:
        for number in range(self.fed, self.fed + pictures):
            is_key = number % 4 == 0
            self.transcode.feed(avc_frame(number * 250, 0, is_key, b"data"), number * 250 if is_key else None)
        self.fed += pictures

    @property
    def child(self) -> Pipe:
        return self.clock.children[-1]

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        self.came.append(frame.dts_ms)

    def rung_restarted(self, from_dts_ms: int) -> None:
        self.came.append(f"from {from_dts_ms}")

    def rung_shed(self, rendition: str, reason: str) -> None:
        self.came.append(f"{rendition} shed")

    def source_refused(self, reason: str) -> None:
        self.came.append(f"refused: {reason}")

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"livestream_{name}_total", labels)


def test_a_few_frames_are_in_flight_and_each_answer_lets_another_go() -> None:
    broadcast = Broadcast()
    broadcast.feed(20)
    assert len(broadcast.child.times) == IN_FLIGHT - 1
    broadcast.child.answer(Done(), Done())
    assert len(broadcast.child.times) == IN_FLIGHT + 1


def test_the_next_child_begins_at_the_first_cut_that_is_not_released_with_the_configuration_before_it() -> None:
    broadcast = Broadcast()
    broadcast.feed(12)
    broadcast.child.answer(*[Done()] * 11)
    broadcast.transcode.release(1000)
    broadcast.child.die()
    broadcast.clock.advance(0)
    assert broadcast.came == ["from 1000"]
    setup, config, first, *_ = broadcast.child.told
    assert isinstance(setup, Setup)
    assert isinstance(config, Source) and config.frame.is_config
    assert isinstance(first, Source) and first.frame.pts_ms == first.cut_ms == 1000


def test_what_comes_again_from_before_the_cut_is_not_passed_on() -> None:
    broadcast = Broadcast()
    broadcast.feed(8)
    broadcast.child.answer(*[Done()] * 8)
    broadcast.transcode.release(1000)
    broadcast.child.die()
    broadcast.clock.advance(0)
    broadcast.child.answer(*(Produced("90p", avc_frame(at, 0, True, b"x")) for at in (750, 1000)))
    assert broadcast.came == ["from 1000", 1000]


def test_a_child_that_does_nothing_for_five_seconds_is_replaced() -> None:
    broadcast = Broadcast()
    broadcast.feed(2)
    broadcast.clock.pump([0.5] * 14)
    assert broadcast.clock.children[0].signals == ["KILL"]
    assert len(broadcast.clock.children) == 2
    assert broadcast.child.times == [0, 250]


def test_a_child_with_nothing_to_do_is_left_alone() -> None:
    broadcast = Broadcast()
    broadcast.child.answer(Done())
    broadcast.clock.pump([0.5] * 40)
    broadcast.feed(1)
    broadcast.clock.pump([0.5] * 4)
    assert len(broadcast.clock.children) == 1


def test_the_costliest_rung_is_given_up_when_the_broadcast_is_no_longer_live() -> None:
    broadcast = Broadcast()
    broadcast.child.answer(Done())
    broadcast.clock.advance(0.5)
    for _ in range(16):
        broadcast.feed(2)
        broadcast.child.answer(Done())
        broadcast.clock.advance(0.5)
    assert broadcast.came == ["180p shed"]
    assert Setup("veryfast", RUNGS[1:]) in broadcast.child.told
    assert broadcast.metrics.registry.get_sample_value("livestream_transcoder_shed_total") == 1


def test_pictures_that_two_children_died_of_are_left_out_up_to_the_next_key_picture() -> None:
    broadcast = Broadcast()
    broadcast.feed(6)
    for _ in range(2):
        broadcast.child.answer(*[Done()] * 5)
        broadcast.child.die()
        broadcast.clock.advance(1)
    broadcast.feed(3)
    assert broadcast.child.times == [0, 250, 500, 750, 2000]


def test_a_child_without_enough_memory_is_replaced_and_the_log_says_what_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(Transcode, "log", logger_to(lambda event: logged.append(formatEvent(event))))
    broadcast = Broadcast()
    broadcast.feed(2)
    broadcast.child.answer(Done(), OutOfMemory(700 << 20))
    broadcast.child.die()
    broadcast.clock.advance(0)
    assert broadcast.child.times == [0, 250]
    assert broadcast.count("transcoder_restarts", reason="memory") == 1
    assert logged == ["cam: the transcoder is replaced: it needs more memory than its limit, 700 MiB"]
    broadcast.child.die()
    assert logged[1] == "cam: the transcoder is replaced: it has crashed (signal 11)"


def test_a_broadcast_whose_pictures_kill_every_child_goes_on_without_its_ladder() -> None:
    broadcast = Broadcast()
    for _ in range(MAX_DEATHS):
        broadcast.feed(4)
        broadcast.child.answer(Done())
        broadcast.child.die()
        broadcast.clock.advance(0)
    assert len(broadcast.clock.children) == MAX_DEATHS
    assert broadcast.came[-2:] == ["180p shed", "90p shed"]
    assert broadcast.count("limits_hit", limit="transcoder_deaths") == 1
    broadcast.feed(4)
    broadcast.clock.pump([1] * 20)
    assert len(broadcast.clock.children) == MAX_DEATHS
    assert broadcast.clock.getDelayedCalls() == []


def test_children_that_die_now_and_then_are_replaced_for_ever() -> None:
    broadcast = Broadcast()
    for _ in range(MAX_DEATHS * 2):
        broadcast.feed(1)
        broadcast.child.answer(Done())
        broadcast.child.die()
        broadcast.clock.advance(DEATHS_S / (MAX_DEATHS - 1) + 0.1)
        broadcast.child.answer(*[Done()] * len(broadcast.child.told))
    assert len(broadcast.clock.children) == MAX_DEATHS * 2 + 1


def test_a_source_that_a_child_refuses_is_told_of() -> None:
    broadcast = Broadcast()
    broadcast.feed(1)
    broadcast.child.answer(Refused("a picture of 9x9"), Done())
    assert broadcast.came == ["refused: a picture of 9x9"]


def test_a_flush_is_told_once_all_is_given_and_ends_with_its_answer_or_with_patience() -> None:
    broadcast = Broadcast()
    broadcast.feed(9)
    ended: list[str] = []
    broadcast.transcode.flush().addCallback(lambda _: ended.append("answered"))
    assert Flush() not in broadcast.child.told
    broadcast.child.answer(*[Done()] * 10)
    assert broadcast.child.told[-1] == Flush()
    broadcast.child.answer(Done(flushed=True))
    assert ended == ["answered"]
    broadcast.transcode.flush().addCallback(lambda _: ended.append("waited"))
    broadcast.clock.advance(3)
    assert ended == ["answered", "waited"]


def test_a_child_that_talks_nonsense_is_replaced() -> None:
    broadcast = Broadcast()
    broadcast.child.protocol.outReceived(b"hello, world")
    assert broadcast.clock.children[0].signals == ["KILL"]
    broadcast.clock.advance(1)
    assert len(broadcast.clock.children) == 2


def test_a_child_that_cannot_be_started_is_started_later() -> None:
    broadcast = Broadcast()
    broadcast.feed(1)
    broadcast.clock.is_full = True
    broadcast.child.die()
    broadcast.clock.advance(1)
    assert broadcast.transcode.pid is None
    broadcast.clock.is_full = False
    broadcast.feed(4)
    broadcast.clock.advance(1)
    assert broadcast.child.times[-1] == 1000


def test_nothing_is_left_to_run_after_closing() -> None:
    broadcast = Broadcast()
    broadcast.feed(2)
    broadcast.transcode.close()
    assert broadcast.child.signals == ["KILL"]
    assert broadcast.clock.getDelayedCalls() == []
