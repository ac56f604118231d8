"""How a node goes, step by step and against the clock."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from livestream.lifecycle.drain import FINISH_S, LEAD_S, LOOK_S, Drain, DrainPhase
from tests.logged_failures import LoggedFailures


@define(eq=False)
class Scene:
    """A node with viewers to move and answers to finish; ``done`` has what was done, and when."""

    limit_s: float = 20.0
    viewers: int = 0
    answers: int = 0
    clock: Clock = field(factory=Clock)
    done: list[tuple[str, int]] = field(factory=list)
    draining: Drain = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.draining = Drain(self.limit_s, self.clock, lambda: self._note("end"))
        for phase in (DrainPhase.ANNOUNCED, DrainPhase.MIGRATING, DrainPhase.CLOSING, DrainPhase.STOPPED):
            self.draining.at(phase, lambda phase=phase: self._note(phase.name.lower()))  # type: ignore[misc]
        self.draining.wait_for(DrainPhase.MIGRATING, "viewers", lambda: self.viewers)
        self.draining.wait_for(DrainPhase.CLOSING, "answers", lambda: self.answers)

    def _note(self, what: str) -> None:
        self.done.append((what, round(self.clock.seconds())))

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_S)):
            self.clock.advance(LOOK_S)

    @property
    def steps(self) -> list[str]:
        return [what for what, _ in self.done]


def test_a_node_with_nobody_ends_when_the_others_know() -> None:
    scene = Scene()
    scene.draining.begin("told to")
    scene.pass_time(LEAD_S - 0.2)
    assert scene.done == [("announced", 0)]
    scene.pass_time(0.4)
    assert scene.steps == ["announced", "migrating", "closing", "stopped", "end"]
    assert scene.clock.getDelayedCalls() == []


def test_it_waits_for_viewers_to_move_and_for_answers_to_be_sent() -> None:
    scene = Scene(viewers=2, answers=1)
    scene.draining.begin("told to")
    scene.pass_time(5)
    assert scene.steps == ["announced", "migrating"]
    scene.viewers = 0
    scene.pass_time(1)
    assert scene.steps == ["announced", "migrating", "closing"]
    scene.answers = 0
    scene.pass_time(0.1)
    assert scene.steps[-1] == "end"


def test_it_ends_in_time_whoever_stays() -> None:
    scene = Scene(viewers=1, answers=1)
    scene.draining.begin("told to")
    scene.pass_time(30)
    assert scene.done == [
        ("announced", 0),
        ("migrating", LEAD_S),
        ("closing", 20 - FINISH_S),
        ("stopped", 20),
        ("end", 20),
    ]


@pytest.mark.parametrize("limit_s", [0.0, 1.0, 3.0])
def test_a_short_time_is_kept_too(limit_s: float) -> None:
    scene = Scene(limit_s, viewers=1, answers=1)
    scene.draining.begin("told to")
    scene.pass_time(limit_s + 2 * LOOK_S)
    assert scene.steps == ["announced", "migrating", "closing", "stopped", "end"]


def test_told_twice_it_goes_once_and_on_a_second_signal_at_once() -> None:
    scene = Scene(viewers=1)
    scene.draining.begin_or_stop("SIGTERM")
    scene.draining.begin("POST /drain")
    assert scene.draining.reasons() == ["this node is draining: SIGTERM"]
    scene.pass_time(3)
    assert scene.steps == ["announced", "migrating"]
    scene.draining.begin_or_stop("SIGTERM")
    scene.draining.begin_or_stop("SIGTERM")
    assert scene.steps == ["announced", "migrating", "stopped", "end"]
    scene.pass_time(30)
    assert scene.steps[-1:] == ["end"] and scene.steps.count("end") == 1


def test_a_step_that_fails_keeps_no_other_from_being_done(logged_failures: LoggedFailures) -> None:
    scene = Scene()
    scene.draining.at(DrainPhase.ANNOUNCED, lambda: 1 / 0)
    scene.draining.at(DrainPhase.ANNOUNCED, lambda: scene.done.append(("after", 0)))
    scene.draining.begin("told to")
    assert scene.steps == ["announced", "after"]
    assert len(logged_failures.take(ZeroDivisionError)) == 1


def test_a_node_in_service_has_no_reason_not_to_be() -> None:
    assert Scene().draining.reasons() == []
