"""Nodes that are not heard on the bus: dead is who does not answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from livestream.cluster.cut_off import FORGET_S, GIVE_UP_S
from livestream.steering.nodes import Load, NodeState
from tests.cluster.nodes import Process, Scene

HTTP, RTMP = "http://127.0.0.2:8080", "rtmp://127.0.0.2:1935"


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        scene.speak(scene.own)
        scene.pass_s(5)
        scene.speaking.clear()
        yield scene


@pytest.fixture
def origin(scene: Scene) -> Process:
    """A node that is cut off."""
    origin = scene.process("origin-2")
    scene.speak(origin)
    scene.fall_silent(origin)
    assert scene.cut_off() == ["origin-2"]
    return origin


def reachable(scene: Scene) -> list[str]:
    return [node.id for node in scene.nodes.reachable()]


def test_one_that_nobody_asks_is_known_for_ten_minutes(scene: Scene, origin: Process) -> None:
    scene.pass_s(FORGET_S - 10, step_s=1)
    assert scene.cut_off() == reachable(scene) == ["origin-2"]
    scene.pass_s(10, step_s=1)
    assert scene.alive() == reachable(scene) == []
    assert scene.said("node origin-2 removed: no heartbeat and no answer for 600 s") == 1


@pytest.mark.parametrize("url", [HTTP, RTMP])
def test_every_answer_keeps_it_for_ten_minutes_more(scene: Scene, origin: Process, url: str) -> None:
    for _ in range(3):
        scene.pass_s(FORGET_S - 10, step_s=1)
        scene.nodes.answered(url)
    scene.pass_s(FORGET_S - 10, step_s=1)
    assert scene.cut_off() == reachable(scene) == ["origin-2"]
    assert scene.said("cut off from the bus") == 1 and scene.said("given up") == 0


def test_answers_of_others_say_nothing_of_it(scene: Scene, origin: Process) -> None:
    scene.pass_s(FORGET_S - 10, step_s=1)
    scene.nodes.answered("http://127.0.0.3:8080")
    scene.pass_s(10, step_s=1)
    assert scene.alive() == []


def test_one_that_does_not_answer_is_given_up_after_half_a_minute_and_any_answer_brings_it_back(
    scene: Scene, origin: Process
) -> None:
    for _ in range(int(GIVE_UP_S)):
        scene.nodes.did_not_answer(HTTP)
        assert scene.cut_off() == ["origin-2"]
        scene.pass_s(1)
    scene.nodes.did_not_answer(HTTP)
    assert scene.alive() == [] and scene.nodes.last_seen() == []
    scene.nodes.did_not_answer(HTTP)
    assert scene.said("node origin-2 is no longer used: cut off from the bus, and no answer for 30 s") == 1
    assert reachable(scene) == ["origin-2"]
    scene.nodes.answered(HTTP)
    assert scene.cut_off() == ["origin-2"] and scene.said("node origin-2 answers again") == 1


def test_one_answer_among_many_failures_is_enough(scene: Scene, origin: Process) -> None:
    for _ in range(5):
        scene.nodes.did_not_answer(HTTP)
        scene.pass_s(GIVE_UP_S - 1)
        scene.nodes.did_not_answer(HTTP)
        assert scene.cut_off() == ["origin-2"]
        scene.nodes.answered(RTMP)
        scene.pass_s(5)
    assert scene.said("answers again") == 0


def test_it_is_known_whether_it_answered_the_last_request(scene: Scene, origin: Process) -> None:
    def is_answering() -> bool:
        [node] = scene.nodes.alive()
        return node.is_answering

    assert is_answering()
    scene.nodes.did_not_answer(HTTP)
    assert not is_answering()
    scene.nodes.answered(HTTP)
    assert is_answering()


def test_a_node_that_is_heard_is_not_judged_by_its_answers(scene: Scene) -> None:
    origin = scene.process("origin-2")
    scene.speak(origin)
    for _ in range(60):
        scene.nodes.did_not_answer(HTTP)
        scene.pass_s(1)
    assert scene.nodes.alive() == (origin.node,)
    scene.fall_silent(origin)
    scene.nodes.did_not_answer(HTTP)
    assert scene.cut_off() == ["origin-2"]


def test_what_it_carried_is_not_known_any_more(scene: Scene) -> None:
    edge = scene.process("edge-2")
    edge.carries(Load(requests_per_s=1e6, viewers={"hls": 9}))
    scene.speak(edge)
    scene.fall_silent(edge)
    [node] = scene.nodes.alive()
    assert (node.state, node.load) == (NodeState.CUT_OFF, Load())


def test_a_goodbye_ends_it_at_once(scene: Scene, origin: Process) -> None:
    scene.nodes.on_message(origin.says(is_last=True))
    assert scene.alive() == reachable(scene) == []
    assert scene.said("node origin-2 left") == 1


def test_the_goodbye_of_another_run_of_its_name_does_not_end_it(scene: Scene, origin: Process) -> None:
    scene.nodes.on_message(scene.process("origin-2", boot=2).says(is_last=True))
    assert scene.cut_off() == ["origin-2"]


def test_it_is_no_second_process_that_starts_with_its_name(scene: Scene, origin: Process) -> None:
    again = scene.process("origin-2", boot=2, host="127.0.0.9")
    scene.speak(again)
    assert scene.nodes.alive() == (again.node,) and scene.count("duplicate") == 0
    scene.nodes.on_message(origin.says())
    assert scene.nodes.alive() == (again.node,) and scene.count("duplicate") == 1


def test_another_node_at_its_address_takes_its_place(scene: Scene, origin: Process) -> None:
    other = scene.process("origin-3", host="127.0.0.2")
    scene.speak(other)
    assert scene.alive() == reachable(scene) == ["origin-3"]
    assert scene.said("node origin-2 removed: another node is at http://127.0.0.2:8080") == 1


def test_a_node_whose_place_another_took_before_it_fell_silent_is_not_waited_for(scene: Scene) -> None:
    before, after = scene.process("origin-2"), scene.process("origin-3", host="127.0.0.2")
    scene.speak(before, after)
    scene.fall_silent(before)
    assert scene.alive() == ["origin-3"]


def test_one_that_had_our_own_address_is_gone(scene: Scene) -> None:
    before = scene.process("edge-7", host="127.0.0.1")
    scene.speak(before)
    scene.fall_silent(before)
    assert scene.alive() == []


def test_while_our_own_bus_is_away_nobody_is_cut_off_or_forgotten(scene: Scene, origin: Process) -> None:
    edge = scene.process("edge-3")
    scene.speak(edge)
    scene.is_bus_healthy, scene.is_deaf = False, True
    scene.pass_s(2 * FORGET_S, step_s=1)
    assert (scene.heard(), scene.cut_off()) == (["edge-3"], ["origin-2"])


def test_those_that_are_cut_off_make_room_for_those_that_are_heard() -> None:
    with Scene(most=3) as scene:
        silent = [scene.process(f"origin-{number}") for number in (2, 3, 4)]
        scene.speak(*silent)
        scene.fall_silent(*silent)
        assert scene.cut_off() == ["origin-2", "origin-3", "origin-4"]
        scene.speak(scene.process("origin-5"))
        assert scene.alive() == ["origin-5", "origin-3", "origin-4"]


def test_the_nodes_that_may_be_reached_are_those_that_are_heard_and_those_that_are_not(
    scene: Scene, origin: Process
) -> None:
    scene.speak(scene.process("origin-1", host="127.0.0.8"), scene.process("origin-9"))
    assert reachable(scene) == ["origin-1", "origin-2", "origin-9"]


def test_what_is_told_of_one_is_what_it_said_last_and_when_it_has_answered(scene: Scene, origin: Process) -> None:
    [last] = scene.nodes.last_seen()
    assert (last.heartbeat.node, last.is_cut_off, last.answered_age_s) == (origin.node, True, None)
    assert last.age_s == 4
    scene.nodes.answered(HTTP)
    scene.pass_s(2)
    [last] = scene.nodes.last_seen()
    assert (last.age_s, last.answered_age_s) == (6, 2)
