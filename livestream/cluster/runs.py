"""The runs of the other nodes' processes: the newest message of each, and what its clock shows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import define, field

from livestream.cluster.challenges import Challenges
from livestream.cluster.messages import Fault, Heartbeat, InvalidHeartbeat, RunId
from livestream.signing import LEARNT_APART_S

MAX_AGE_S = 900.0
"""A message sent longer ago than this, or as far ahead, is a recording, even if clocks are five minutes apart."""
REMEMBERED_S = 2 * MAX_AGE_S
"""How long a run is remembered, so that no recording of it is accepted."""
RUNS_PER_NODE = 4
"""How many runs are remembered, as a multiple of the limit of nodes."""


@define(eq=False)
class NodeRun:
    """
    A run of a node's process: its newest sequence number, and when that arrived.

    ``ahead_s`` is how far its wall clock is ahead of the local monotonic one; ``None`` until it has answered a
    challenge.
    """

    sequence: int
    seen_at: float
    is_over: bool = False
    ahead_s: float | None = None


@define(eq=False)
class NodeRuns:
    """
    Tells current messages from recordings.

    A message is current if it repeats a nonce of this node (see `livestream.cluster.challenges`), or if its sender has
    repeated one before and, by its own clock, which is known since then, sent this within ``LEARNT_APART_S`` of now. If
    either clock is set, the next answer shows what the sender's shows.
    """

    monotonic: Callable[[], float]
    most: int
    challenges: Challenges = field(init=False)
    _runs: OrderedDict[RunId, NodeRun] = field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        self.challenges = Challenges(self.monotonic, self.most)

    def record(self, heartbeat: Heartbeat) -> None:
        """
        Record a run's newest sequence number.

        :raises InvalidHeartbeat: the number is not new.
        """
        now, run = self.monotonic(), self._runs.get(heartbeat.run)
        if run is None:
            run = self._runs[heartbeat.run] = NodeRun(heartbeat.sequence, now)
        elif run.is_over or heartbeat.sequence <= run.sequence:
            raise InvalidHeartbeat.of(Fault.REPLAYED, heartbeat)
        run.sequence, run.seen_at, run.is_over = heartbeat.sequence, now, heartbeat.is_last
        self._runs.move_to_end(heartbeat.run)
        self._expire(now)

    def _expire(self, now: float) -> None:
        oldest = next(iter(self._runs.values()))
        while len(self._runs) > RUNS_PER_NODE * self.most or now - oldest.seen_at > REMEMBERED_S:
            self._runs.popitem(last=False)
            oldest = next(iter(self._runs.values()))

    def is_current(self, heartbeat: Heartbeat) -> bool:
        """Whether a recorded message is current; if it answers a challenge, learn what its sender's clock shows."""
        now, run = self.monotonic(), self._runs[heartbeat.run]
        drawn_at = self.challenges.drawn_at(heartbeat.answers)
        if drawn_at is not None:
            run.ahead_s = heartbeat.sent_at - (drawn_at + now) / 2
        elif run.ahead_s is None or abs(heartbeat.sent_at - run.ahead_s - now) > LEARNT_APART_S:
            return False
        self.challenges.drop(heartbeat.run)
        return True

    def is_over(self, run: RunId) -> bool:
        """Whether a run is remembered to have said goodbye."""
        return run in self._runs and self._runs[run].is_over

    def clock_of(self, run: RunId) -> float | None:
        """What the wall clock of a run's node shows now; ``None`` if unknown."""
        known = self._runs.get(run)
        return None if known is None or known.ahead_s is None else self.monotonic() + known.ahead_s
