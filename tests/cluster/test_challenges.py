"""What is said now is told from recordings, also by a node that has just started, and whatever the clocks show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from livestream.cluster.challenges import MAX_RETRY_S, NONCE_VALID_S, Challenges
from livestream.cluster.cut_off import GIVE_UP_S
from livestream.cluster.messages import MAX_ANSWERS, decode
from livestream.signing import LEARNT_APART_S
from tests.cluster.members import Member, Members
from tests.cluster.nodes import SECRET, Process, Scene
from tests.logs import observed

UNANSWERED = "does not answer challenges on the bus"
APART = pytest.mark.parametrize("clocks_s", [(0, 0), (290, 0), (0, 290), (-290, 0), (-145, 145), (145, -145)])


@pytest.fixture
def members() -> Members:
    return Members()


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def note(event: dict[str, object]) -> None:
        if isinstance(event.get("log_format"), str):
            lines.append(str(event["log_format"]).format(**event))

    with observed(note):
        yield lines


def nonces(members: Members) -> list[str]:
    """What has been asked, by all."""
    return [nonce for message in members.recording if (nonce := decode(message, SECRET).nonce)]


@APART
def test_a_node_that_starts_believes_the_others_within_two_seconds(
    members: Members, clocks_s: tuple[float, float]
) -> None:
    before, other = members.start("origin-1", clocks_s[0]), members.start("ingest-2", clocks_s[1])
    members.pass_s(100)
    late = members.start("edge-3")
    members.pass_s(1)
    assert sorted(late.believed() + late.tried()) == ["ingest-2", "origin-1"]
    members.pass_s(1)
    assert late.believed() == ["ingest-2", "origin-1"]
    assert before.believed() == ["edge-3", "ingest-2"] and other.believed() == ["edge-3", "origin-1"]


@APART
def test_what_the_clocks_of_others_show_is_learnt(members: Members, clocks_s: tuple[float, float]) -> None:
    one, other = members.start("edge-1", clocks_s[0]), members.start("edge-2", clocks_s[1])
    assert one.nodes.clock_of("edge-2") is None
    members.pass_s(100)
    assert one.nodes.clock_of("edge-2") == pytest.approx(other.seconds, abs=1)
    assert other.nodes.clock_of("edge-1") == pytest.approx(one.seconds, abs=1)
    members.kill(other)
    members.pass_s(5)
    assert one.nodes.clock_of("edge-2") is None


@pytest.mark.parametrize("clock_s", [0, 290, -290])
def test_a_recording_of_nodes_that_are_gone_is_not_believed_by_one_that_has_just_started(
    members: Members, said: list[str], clock_s: float
) -> None:
    gone = [members.start("origin-1", clock_s), members.start("ingest-2")]
    members.pass_s(300)
    members.kill(*gone)
    members.pass_s(100)
    late = members.start("edge-3")
    recording = members.recording[:]
    members.pass_s(5)
    for second in range(100):
        members.replay(recording[6 * second : 6 * second + 6])
        assert late.believed() == []
        members.pass_s(1)
    assert late.tried() == ["ingest-2", "origin-1"]
    assert (late.counted("heard"), late.counted("unanswered")) == (0, 600)
    lines = [line for line in said if UNANSWERED in line]
    assert len(lines) == 2 and "origin-1, origin at http://127.0.0.1:8080" in lines[0]
    members.replay(recording)
    assert late.counted("replayed") == 600 and late.believed() == []


def test_one_that_does_not_answer_on_the_bus_is_used_while_it_answers_at_its_address(
    members: Members, said: list[str]
) -> None:
    late, mute = members.start("edge-3"), members.start("origin-1")
    mute.is_deaf = True
    for _ in range(300):
        members.pass_s(1)
        late.nodes.answered("http://127.0.0.1:8080")
    assert late.tried() == ["origin-1"]
    assert not [line for line in said if "removed" in line or "no longer used" in line]
    for _ in range(int(GIVE_UP_S) + 2):
        members.pass_s(1)
        late.nodes.did_not_answer("http://127.0.0.1:8080")
    assert late.tried() == late.believed() == []
    mute.is_deaf = False
    members.pass_s(int(MAX_RETRY_S) + 2)
    assert late.believed() == ["origin-1"]


@pytest.mark.parametrize("step_s", [290, -290, 700])
def test_a_clock_that_is_set_anew_costs_no_node_its_place(members: Members, said: list[str], step_s: float) -> None:
    one, other = members.start("edge-1"), members.start("edge-2")
    members.pass_s(60)
    one.clock_s += step_s
    for _ in range(100):
        members.pass_s(1)
        assert (one.believed(), other.believed()) == (["edge-2"], ["edge-1"])
    assert other.nodes.clock_of("edge-1") == pytest.approx(one.seconds, abs=1)
    assert not [line for line in said if "cut off" in line or "dropped" in line]


@pytest.mark.parametrize("late_s", [LEARNT_APART_S - 5, LEARNT_APART_S + 5])
@pytest.mark.parametrize("clock_s", [0, 290, -290])
def test_a_message_that_was_held_back_for_half_a_minute_is_of_another_time(clock_s: float, late_s: float) -> None:
    scene = Scene()
    edge = scene.process("edge-2", clock_s=clock_s)
    scene.nodes.on_message(edge.says())
    edge.is_deaf = True
    held_back = edge.says()
    scene.pass_s(late_s)
    assert scene.heard() == []
    scene.nodes.on_message(held_back)
    assert scene.heard() == (["edge-2"] if late_s < LEARNT_APART_S else [])


def test_an_answer_to_an_old_question_is_none() -> None:
    scene = Scene()
    edge = scene.process("edge-2")
    answer = edge.says()
    scene.clock.advance(NONCE_VALID_S + 1)
    scene.nodes.on_message(answer)
    assert scene.heard() == [] and scene.cut_off() == ["edge-2"]


def test_an_answer_to_another_is_none_to_us(members: Members) -> None:
    one, other = members.start("edge-1"), members.start("edge-2")
    members.pass_s(10)
    answers = [message for message in members.recording if decode(message, SECRET).answers]
    late = Member("edge-3", 9, members.bus, members.clock)
    members.replay(answers)
    assert late.believed() == [] and late.tried() == ["edge-1", "edge-2"]
    assert one.believed() == ["edge-2"] and other.believed() == ["edge-1"]


def test_a_recording_of_the_run_before_is_no_second_process(members: Members, said: list[str]) -> None:
    one, before = members.start("edge-1"), members.start("edge-2")
    members.pass_s(10)
    members.kill(one, before)
    recording = members.recording[:]
    again, after = members.start("edge-1"), members.start("edge-2")
    members.pass_s(10)
    members.replay(recording)
    members.pass_s(2)
    assert again.believed() == ["edge-2"] and after.believed() == ["edge-1"]
    assert again.counted("duplicate") == 0 and not [line for line in said if "two processes" in line]


def test_a_recording_of_one_that_was_where_another_is_now_is_not_asked_there() -> None:
    scene = Scene()
    before = scene.process("origin-2")
    before.is_deaf = True
    scene.speak(after := scene.process("origin-3", host="127.0.0.2"))
    scene.nodes.on_message(before.says())
    assert scene.nodes.alive() == (after.node,)


def test_the_goodbye_of_another_run_ends_none_that_is_heard() -> None:
    scene = Scene()
    scene.speak(edge := scene.process("edge-2", boot=2))
    scene.nodes.on_message(scene.process("edge-2", boot=1).says(is_last=True))
    assert scene.nodes.alive() == (edge.node,)


def test_in_a_cluster_that_knows_itself_nobody_asks(members: Members) -> None:
    for number in range(1, 6):
        members.start(f"edge-{number}")
    members.pass_s(5)
    asked = len(nonces(members))
    members.pass_s(1000)
    assert len(nonces(members)) == asked <= 2 * 5


def test_one_that_never_answers_is_asked_ever_more_seldom(members: Members) -> None:
    members.start("edge-1")
    mute = members.start("edge-2")
    mute.is_deaf = True
    members.pass_s(600)
    assert 600 / MAX_RETRY_S <= len(nonces(members)) <= 600 / MAX_RETRY_S + 8
    members.kill(mute)
    members.pass_s(60)
    asked = len(nonces(members))
    members.pass_s(600)
    assert len(nonces(members)) == asked


def test_more_nodes_than_one_message_can_answer_start_at_once_and_know_each_other_soon(members: Members) -> None:
    count = MAX_ANSWERS + 6
    started = [members.start(f"edge-{number}") for number in range(1, count + 1)]
    members.pass_s(5)
    assert {len(member.believed()) for member in started} == {count - 1}


def test_what_is_kept_of_questions_is_bounded() -> None:
    challenges = Challenges(Clock().seconds, 3)
    scene = Scene()
    for number in range(2, 12):
        heartbeat = decode(scene.process(f"edge-{number}").says(nonce="0" * 16), SECRET)
        challenges.challenge(heartbeat)
        challenges.receive(heartbeat)
    assert (len(challenges._pending), len(challenges.answers()), challenges.answers()) == (3, 3, ())


def test_one_who_left_before_it_answered_is_not_complained_of(members: Members, said: list[str]) -> None:
    late = members.start("edge-1")
    leaving = Process(late.heartbeats.members.own, 77, members.clock, lambda: "")
    leaving.node = members.start("edge-2").heartbeats.members.own
    members.kill(members.running[-1])
    leaving.is_deaf = True
    members.replay([leaving.says()])
    assert late.tried() == ["edge-2"]
    members.replay([leaving.says(is_last=True)])
    assert late.tried() == []
    members.pass_s(30)
    assert not [line for line in said if UNANSWERED in line]
