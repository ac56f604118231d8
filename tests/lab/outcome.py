"""What one run has shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from tests.lab.history import History
from tests.lab.verifier import Verifier


@frozen
class Outcome:
    """Each thing that went wrong in a sentence, the longest waits in seconds, and what was done."""

    lost: tuple[str, ...]
    regressions: tuple[str, ...]
    conflicts: tuple[str, ...]
    gaps: int
    segments: int
    """Fetched, over all edges."""
    stall_s: float
    """The longest time in which an edge's list did not grow, though somebody published."""
    silence_s: float
    """The longest time in which a viewer of the push got nothing new."""
    recovery_s: float
    """From the end of the fault until every list had grown."""
    failures: tuple[str, ...]
    """Nodes that died by themselves or logged a traceback, lists that did not grow again."""
    remarks: tuple[str, ...]
    """What was done to whom."""

    def troubles(self) -> list[str]:
        return [*self.lost, *self.regressions, *self.conflicts, *self.failures]


def outcome_of(verifier: Verifier, recovery_s: float, *, failures: Sequence[str], remarks: Sequence[str]) -> Outcome:
    histories = verifier.histories.values()
    edges = [edge for history in histories for edge in history.edges.values()]
    return Outcome(
        lost=tuple(words for history in histories for words in _lost(history)),
        regressions=tuple(words for history in histories for words in history.regressions),
        conflicts=tuple(words for history in histories for words in history.conflicts.values()),
        gaps=sum(len(history.gaps()) for history in histories),
        segments=sum(len(edge.digests) for edge in edges),
        stall_s=max((edge.growth.longest_s for edge in edges), default=0.0),
        silence_s=max((push.silence.longest_s for push in verifier.pushes), default=0.0),
        recovery_s=recovery_s,
        failures=(*failures, *verifier.failures),
        remarks=tuple(remarks),
    )


def _lost(history: History) -> Iterator[str]:
    for msn in sorted(history.lost()):
        yield f"{history.stream}: {msn} is lost"
    for msn in sorted(history.holes() - history.lost()):
        yield f"{history.stream}: media is missing before {msn}"
