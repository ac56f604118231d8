"""The runs of the other nodes' processes: how far each has come, and what its clock shows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import define, field

from livestream.cluster.challenges import Challenges
from livestream.cluster.messages import Fault, Heartbeat, InvalidHeartbeat, RunId
from livestream.signing import LEARNT_APART_S

FAR_S = 900.0
"""What was sent so long ago or ahead, by clocks that may be five minutes apart, is a recording."""
REMEMBERED_S = 2 * FAR_S
"""So long a run is remembered, so that no recording of it is heard twice."""
REMEMBERED = 4
"""As many runs are remembered as this times the nodes that there may be."""


@define(eq=False)
class Run:
    """
    A run of a node's process: how far it has come, and when it was heard last.

    ``ahead_s`` is how far its wall clock is ahead of our monotonic one; ``None`` until it has answered.
    """

    sequence: int
    heard_at: float
    is_over: bool = False
    ahead_s: float | None = None


@define(eq=False)
class Runs:
    """
    Tells what a node says now from what it said at another time.

    A message counts as new if it repeats a nonce of ours (see `livestream.cluster.challenges`), or if its sender has
    repeated one before, and sent this within ``LEARNT_APART_S`` of now by its own clock, of which we know since then
    what it shows. Whatever clock is set anew, here or there: an answer says what it shows.
    """

    monotonic: Callable[[], float]
    most: int
    challenges: Challenges = field(init=False)
    _runs: OrderedDict[RunId, Run] = field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        self.challenges = Challenges(self.monotonic, self.most)

    def count(self, heartbeat: Heartbeat) -> None:
        """
        Note how far a run has come.

        :raises InvalidHeartbeat: it had come so far before.
        """
        now, run = self.monotonic(), self._runs.get(heartbeat.run)
        if run is None:
            run = self._runs[heartbeat.run] = Run(heartbeat.sequence, now)
        elif run.is_over or heartbeat.sequence <= run.sequence:
            raise InvalidHeartbeat.of(Fault.REPLAYED, heartbeat)
        run.sequence, run.heard_at, run.is_over = heartbeat.sequence, now, heartbeat.is_last
        self._runs.move_to_end(heartbeat.run)
        self._forget(now)

    def _forget(self, now: float) -> None:
        oldest = next(iter(self._runs.values()))
        while len(self._runs) > REMEMBERED * self.most or now - oldest.heard_at > REMEMBERED_S:
            self._runs.popitem(last=False)
            oldest = next(iter(self._runs.values()))

    def is_new(self, heartbeat: Heartbeat) -> bool:
        """Whether a message that was counted is of now; what its sender's clock shows is learnt from an answer."""
        now, run = self.monotonic(), self._runs[heartbeat.run]
        drawn_at = self.challenges.drawn_at(heartbeat.answers)
        if drawn_at is not None:
            run.ahead_s = heartbeat.sent_at - (drawn_at + now) / 2
        elif run.ahead_s is None or abs(heartbeat.sent_at - run.ahead_s - now) > LEARNT_APART_S:
            return False
        self.challenges.drop(heartbeat.run)
        return True

    def is_over(self, run: RunId) -> bool:
        """Whether a run has said goodbye, as far as it is remembered."""
        return run in self._runs and self._runs[run].is_over

    def clock_of(self, run: RunId) -> float | None:
        """What the wall clock of a run's node shows now; ``None`` where that is not known."""
        known = self._runs.get(run)
        return None if known is None or known.ahead_s is None else self.monotonic() + known.ahead_s
