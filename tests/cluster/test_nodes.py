"""Who is there: heard, silent, gone, replayed, twice, and with the bus away; with a clock that the test holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from livestream.cluster.nodes import SILENT_S
from livestream.cluster.runs import MAX_AGE_S, RUNS_PER_NODE
from livestream.steering.nodes import NodeState
from tests.cluster.nodes import OWN_BOOT, Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        scene.speak(scene.own)
        scene.pass_s(5)
        scene.speaking.clear()
        yield scene


def test_who_speaks_is_there_as_it_said_last(scene: Scene) -> None:
    edge = scene.process("edge-2")
    scene.speak(edge)
    assert scene.nodes.alive() == (edge.node,)
    edge.becomes(NodeState.DRAINING)
    scene.nodes.on_message(edge.says())
    assert scene.nodes.alive() == (edge.node,)
    assert scene.said("node edge-2 joined: edge at http://127.0.0.2:8080") == 1


def test_who_is_silent_for_three_seconds_is_cut_off_until_it_is_heard_again(scene: Scene) -> None:
    silent, other = scene.process("edge-2"), scene.process("edge-3")
    scene.speak(silent, other)
    scene.speaking.remove(silent)
    scene.pass_s(SILENT_S)
    assert scene.heard() == ["edge-2", "edge-3"]
    scene.pass_s(1)
    assert (scene.heard(), scene.cut_off()) == (["edge-3"], ["edge-2"])
    assert scene.said("node edge-2 is cut off from the bus: no heartbeat for 3 s") == 1
    scene.pass_s(6)
    scene.speak(silent)
    assert scene.alive() == scene.heard() == ["edge-3", "edge-2"]
    assert scene.said("node edge-2 is back after 10 s") == 1


def test_who_says_goodbye_is_gone_at_once_and_comes_back_as_another_run_only(scene: Scene) -> None:
    edge = scene.process("edge-2")
    scene.speak(edge)
    scene.nodes.on_message(edge.says(is_last=True))
    assert scene.alive() == []
    scene.nodes.on_message(edge.says())
    assert scene.alive() == [] and scene.count("replayed") == 1
    scene.nodes.on_message(scene.process("edge-2", boot=2).says())
    assert scene.alive() == ["edge-2"]


def test_we_are_not_among_the_others(scene: Scene) -> None:
    scene.nodes.on_message(scene.own.says())
    assert scene.alive() == []
    assert scene.count("own") > 0 and scene.count("duplicate") == 0


@pytest.mark.parametrize("clock_s", [300, -300])
def test_clocks_may_be_five_minutes_apart(scene: Scene, clock_s: float) -> None:
    scene.speak(scene.process("edge-2", clock_s=clock_s))
    scene.pass_s(10)
    assert scene.alive() == ["edge-2"]


@pytest.mark.parametrize("clock_s", [MAX_AGE_S + 1, -MAX_AGE_S - 1])
def test_what_was_sent_long_ago_or_ahead_is_dropped_with_what_to_do(scene: Scene, clock_s: float) -> None:
    scene.speak(scene.process("edge-2", clock_s=clock_s))
    assert scene.alive() == [] and scene.count("stale") == 1
    assert (
        scene.said("edge-2, edge at http://127.0.0.2:8080") == scene.said("synchronize the clocks of both nodes") == 1
    )


def test_what_is_not_ours_is_dropped_and_said_once_a_minute(scene: Scene) -> None:
    edge = scene.process("edge-2")
    for _ in range(10):
        scene.nodes.on_message(b"garbage")
        scene.nodes.on_message(edge.says(secret="another secret of ours"))
        scene.nodes.on_message(b"x" * 100_000)
    assert scene.alive() == []
    assert [scene.count(outcome) for outcome in ("unsigned", "altered", "impossible")] == [10, 10, 10]
    assert scene.said("heartbeat dropped") == 3 and scene.said("give every node the same cluster.secret") == 1
    scene.pass_s(60)
    scene.nodes.on_message(edge.says(secret="another secret of ours"))
    assert scene.said("give every node the same cluster.secret") == 2


def test_a_recording_says_nothing(scene: Scene) -> None:
    edge = scene.process("edge-2")
    recording = [edge.says() for _ in range(3)]
    for message in [*recording, *recording, edge.says()]:
        scene.nodes.on_message(message)
    assert scene.count("heard") == 4 and scene.count("replayed") == 3
    assert scene.said("heartbeat dropped") == 1


def test_a_recording_does_not_bring_back_who_has_left(scene: Scene) -> None:
    edge = scene.process("edge-2")
    recording = [edge.says() for _ in range(3)]
    scene.nodes.on_message(recording[2])
    scene.pass_s(4)
    assert scene.heard() == []
    scene.pass_s(600, step_s=1)
    for message in recording:
        scene.nodes.on_message(message)
    assert scene.alive() == []
    scene.pass_s(2 * MAX_AGE_S, step_s=1)
    for message in recording:
        scene.nodes.on_message(message)
    assert scene.alive() == []
    assert scene.count("replayed") == 3 and scene.count("stale") == 3


def test_what_is_remembered_of_those_who_left_is_bounded() -> None:
    scene = Scene(most=10)
    for boot in range(1000):
        scene.nodes.on_message(scene.process("edge-2", boot).says(is_last=True))
    assert len(scene.nodes._runs._runs) == RUNS_PER_NODE * 10
    scene.pass_s(2 * MAX_AGE_S + 10, step_s=1)
    assert len(scene.nodes._runs._runs) == 1


def test_of_two_who_use_one_name_the_first_is_believed_while_it_lives(scene: Scene) -> None:
    first, second = scene.process("edge-2", 1), scene.process("edge-2", 2, host="127.0.0.3")
    scene.speak(first)
    scene.speak(second)
    scene.pass_s(30)
    assert scene.nodes.alive() == (first.node,)
    assert scene.count("duplicate") == 31
    assert scene.said("give each a node.id of its own") == 1
    scene.speaking.remove(first)
    scene.pass_s(4)
    assert scene.nodes.alive() == (second.node,)


def test_a_node_that_is_started_again_is_no_second_one(scene: Scene) -> None:
    before = scene.process("edge-2", 1)
    scene.speak(before)
    scene.speaking.remove(before)
    after = scene.process("edge-2", 2)
    scene.speak(after)
    scene.pass_s(10)
    assert scene.alive() == ["edge-2"]
    assert scene.said("heartbeat dropped") == 0


def test_another_who_uses_our_name_is_told_of_and_not_believed(scene: Scene) -> None:
    scene.speak(scene.process("edge-1", OWN_BOOT + 1, host="127.0.0.9"))
    scene.pass_s(5)
    assert scene.alive() == []
    assert scene.count("duplicate") == 6
    assert scene.said("edge-1, edge at http://127.0.0.9:8080") == scene.said("give each a node.id of its own") == 1


def test_while_the_bus_is_away_the_last_picture_holds_and_three_seconds_longer(scene: Scene) -> None:
    edge, ending = scene.process("edge-2"), scene.process("edge-3")
    scene.speak(edge, ending)
    scene.is_bus_healthy, scene.is_deaf = False, True
    scene.speaking.remove(ending)
    scene.pass_s(60)
    assert scene.alive() == ["edge-2", "edge-3"]
    scene.is_bus_healthy, scene.is_deaf = True, False
    scene.pass_s(SILENT_S)
    assert sorted(scene.heard()) == ["edge-2", "edge-3"]
    scene.pass_s(2)
    assert (scene.heard(), scene.cut_off()) == (["edge-2"], ["edge-3"])


def test_a_bus_that_says_it_is_away_is_believed_whatever_is_heard(scene: Scene) -> None:
    scene.nodes.on_message(scene.process("edge-2").says())
    scene.is_bus_healthy = False
    scene.pass_s(60)
    scene.is_bus_healthy = True
    scene.pass_s(SILENT_S - 0.25)
    assert scene.heard() == ["edge-2"]
    scene.pass_s(1)
    assert scene.heard() == []


def test_a_bus_that_does_not_know_that_it_is_away_is_found_out_by_its_silence(scene: Scene) -> None:
    scene.speak(scene.process("edge-2"))
    scene.is_deaf = True
    scene.pass_s(60)
    assert scene.alive() == ["edge-2"]
    scene.is_deaf = False
    scene.pass_s(10)
    assert scene.heard() == ["edge-2"] and scene.said("cut off") == 0


def test_there_may_be_only_so_many_nodes() -> None:
    with Scene(most=3) as scene:
        scene.speak(*(scene.process(f"edge-{number}") for number in range(2, 8)))
        assert scene.alive() == ["edge-2", "edge-3", "edge-4"]
        scene.pass_s(2)
        assert scene.alive() == ["edge-2", "edge-3", "edge-4"]
        assert scene.count("too many") == 9 and scene.said("too many nodes") == 1


def test_what_was_heard_last_is_told_with_how_long_ago(scene: Scene) -> None:
    edge = scene.process("edge-2")
    scene.nodes.on_message(edge.says())
    scene.clock.advance(0.5)
    [last] = scene.nodes.last_seen()
    assert (last.heartbeat.node, last.heartbeat.boot, last.age_s) == (edge.node, 1, 0.5)
    assert not last.is_cut_off
