"""The list of nodes that is kept on the bus: who starts finds there those that nobody hears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from livestream.cluster.cut_off import FORGET_S
from livestream.cluster.directory import REFRESH_S, NodeDirectory
from livestream.cluster.nodes import SILENT_S
from livestream.cluster.runs import MAX_AGE_S
from tests.cluster.nodes import Process, Scene


@define(eq=False)
class Bus:
    """Keeps what the test likes; while it ``is_away`` it answers nothing."""

    entries: dict[str, bytes] = field(factory=dict)
    kept_at: list[float] = field(factory=list)
    reads: int = 0
    is_away: bool = False
    scene: Scene = field(factory=Scene)

    def retain(self, channel: str, name: str, message: bytes | None) -> None:
        assert channel == "nodes"
        if message is None:
            self.entries.pop(name, None)
        else:
            self.entries[name] = message
            self.kept_at.append(self.scene.clock.seconds())

    def retained(self, channel: str) -> Deferred[Sequence[bytes]]:
        self.reads += 1
        return fail(ConnectionError("away")) if self.is_away else succeed(list(self.entries.values()))


@pytest.fixture
def bus() -> Iterator[Bus]:
    bus = Bus()
    with bus.scene:
        yield bus


def started(bus: Bus) -> NodeDirectory:
    """We are ``edge-1``, have just started, and speak for the first time."""
    directory = NodeDirectory(bus, "nodes", bus.scene.nodes)
    directory.register(bus.scene.own.says())
    return directory


def died(bus: Bus, name: str = "origin-2", clock_s: float = 0.0) -> Process:
    """A node that was kept, and is not heard any more."""
    process = bus.scene.process(name, clock_s=clock_s)
    bus.entries[name] = process.says()
    return process


def test_whoever_is_kept_and_not_heard_is_cut_off(bus: Bus) -> None:
    died(bus)
    bus.scene.clock.advance(100)
    started(bus)
    assert bus.scene.cut_off() == ["origin-2"]
    assert [last.age_s for last in bus.scene.nodes.last_seen()] == [100]
    bus.scene.pass_s(SILENT_S + 2)
    assert bus.scene.said("node origin-2 is cut off from the bus: no heartbeat for 10") == 1


def test_whoever_is_kept_and_heard_is_as_it_says(bus: Bus) -> None:
    process = died(bus)
    started(bus)
    bus.scene.speak(process)
    bus.scene.pass_s(10)
    assert bus.scene.nodes.alive() == (process.node,)
    assert bus.scene.said("cut off") == 0 and bus.scene.said("node origin-2 joined") == 1


def test_who_was_kept_where_another_is_heard_by_now_is_not_asked(bus: Bus) -> None:
    died(bus)
    other = bus.scene.process("origin-3", host="127.0.0.2")
    bus.scene.speak(other)
    started(bus)
    assert bus.scene.nodes.alive() == (other.node,)


def test_whoever_is_heard_before_the_list_is_read_stays_as_it_is(bus: Bus) -> None:
    process = died(bus)
    bus.scene.speak(process)
    started(bus)
    assert bus.scene.nodes.alive() == (process.node,)


def test_a_message_of_a_node_is_heard_also_when_the_same_was_kept(bus: Bus) -> None:
    message = bus.entries["origin-2"] = bus.scene.process("origin-2").says()
    started(bus)
    bus.scene.nodes.on_message(message)
    assert bus.scene.heard() == ["origin-2"] and bus.scene.count("replayed") == 0


def test_we_are_kept_now_and_then_until_we_leave(bus: Bus) -> None:
    directory = started(bus)
    for _ in range(30):
        bus.scene.clock.advance(1)
        directory.register(bus.scene.own.says())
    assert bus.kept_at == [0, REFRESH_S, 2 * REFRESH_S, 3 * REFRESH_S]
    assert list(bus.entries) == ["edge-1"]
    directory.deregister()
    assert bus.entries == {}


def test_another_address_is_kept_with_the_next_message(bus: Bus) -> None:
    directory = started(bus)
    directory.renew()
    bus.scene.clock.advance(1)
    directory.register(message := bus.scene.own.says())
    assert bus.entries == {"edge-1": message}


def test_the_list_is_read_once_and_as_soon_as_the_bus_answers(bus: Bus) -> None:
    died(bus)
    bus.is_away = True
    directory = started(bus)
    for _ in range(5):
        directory.register(bus.scene.own.says())
    assert bus.scene.alive() == [] and bus.reads == 6
    bus.is_away = False
    for _ in range(5):
        directory.register(bus.scene.own.says())
    assert bus.scene.cut_off() == ["origin-2"] and bus.reads == 7


@pytest.mark.parametrize("clock_s", [-300, 0, 300])
def test_who_was_kept_ten_minutes_ago_is_tried_whatever_its_clock_and_not_for_long(bus: Bus, clock_s: float) -> None:
    died(bus, clock_s=clock_s)
    bus.scene.clock.advance(590)
    started(bus)
    bus.scene.pass_s(20)
    assert bus.scene.cut_off() == ["origin-2"]
    bus.scene.pass_s(FORGET_S, step_s=1)
    assert bus.scene.alive() == []


def test_who_was_kept_long_ago_or_has_left_is_taken_off_the_list(bus: Bus) -> None:
    died(bus, "origin-2")
    bus.scene.clock.advance(MAX_AGE_S + 1)
    bus.entries["origin-3"] = bus.scene.process("origin-3").says(is_last=True)
    leaver = died(bus, "origin-4")
    bus.scene.nodes.on_message(leaver.says(is_last=True))
    died(bus, "origin-5")
    started(bus)
    assert bus.scene.cut_off() == ["origin-5"]
    assert sorted(bus.entries) == ["edge-1", "origin-5"]


def test_what_is_not_ours_on_the_list_is_left_there_and_not_believed(bus: Bus) -> None:
    bus.entries["origin-2"] = bus.scene.process("origin-2").says(secret="another secret of ours")
    bus.entries["x"] = b"garbage"
    bus.entries["edge-1"] = bus.scene.process("edge-1", boot=7, host="127.0.0.9").says()
    NodeDirectory(bus, "nodes", bus.scene.nodes).register(b"")
    assert bus.scene.alive() == [] and sorted(bus.entries) == ["edge-1", "origin-2", "x"]


def test_no_more_are_taken_from_the_list_than_there_may_be() -> None:
    bus = Bus(scene=Scene(most=3))
    for number in range(2, 9):
        died(bus, f"origin-{number}")
    started(bus)
    assert len(bus.scene.alive()) == 3
