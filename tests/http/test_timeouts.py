import math

from attrs import define, field
from twisted.internet.task import Clock

from livestream.http.timeouts import TURN, Timeouts
from tests.logged_failures import LoggedFailures
from tests.net.loop import Loop


@define(eq=False)
class Sleeper:
    """Notes when it is looked at, and says when to look again."""

    again: list[float]
    check_at: float = math.inf
    looks: list[int] = field(factory=list)

    def check_timeouts(self, now: int) -> float:
        self.looks.append(now)
        return self.again.pop(0) if self.again else math.inf


def running() -> tuple[Clock, Timeouts]:
    clock = Clock()
    timeouts = Timeouts(clock)
    timeouts.start()
    return clock, timeouts


def test_each_is_looked_at_when_it_asked_to_be() -> None:
    clock, timeouts = running()
    sleeper = Sleeper([7, 7.5])
    timeouts.watch(sleeper, 3)
    clock.pump([1] * 20)
    assert sleeper.looks == [3, 7, 8]


def test_an_earlier_look_stands_and_a_later_one_gives_way() -> None:
    clock, timeouts = running()
    sleeper = Sleeper([])
    timeouts.watch(sleeper, 9)
    timeouts.watch(sleeper, 4)
    timeouts.watch(sleeper, 6)
    clock.pump([1] * 20)
    assert sleeper.looks == [4]


def test_time_during_which_the_process_stood_still_does_not_count() -> None:
    clock, timeouts = running()
    sleeper = Sleeper([])
    timeouts.watch(sleeper, 5)
    clock.pump([1, 60, 1, 1])
    assert sleeper.looks == []
    clock.advance(1)
    assert sleeper.looks == [5]


def test_one_that_fails_does_not_keep_the_others_waiting(logged_failures: LoggedFailures) -> None:
    class Broken(Sleeper):
        def check_timeouts(self, now: int) -> float:
            raise ValueError("broken")

    clock, timeouts = running()
    sleeper = Sleeper([])
    timeouts.watch(Broken([]), 2)
    timeouts.watch(sleeper, 2)
    clock.pump([1] * 3)
    assert sleeper.looks == [2]
    logged_failures.take(ValueError)
    timeouts.stop()
    assert clock.getDelayedCalls() == []


def test_thousands_that_are_due_together_are_looked_at_in_turns() -> None:
    loop = Loop()
    timeouts = Timeouts(loop)
    timeouts.start()
    sleepers = [Sleeper([]) for _ in range(3 * TURN)]
    for sleeper in sleepers:
        timeouts.watch(sleeper, 1)
    loop.rightNow += 1
    for turn in range(1, 4):
        loop.turn()
        assert sum(bool(sleeper.looks) for sleeper in sleepers) == turn * TURN
