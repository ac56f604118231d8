"""
Draining a node: it announces that it leaves, serves on while viewers migrate, finishes what is in flight, and stops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

LEAD_S = 2.0
"""By then every other node, and whoever polls the readiness of this one, knows that it is draining."""
FINISH_S = 4.0
"""This much of the time is kept for what is in flight at the end: a last segment, responses that are being sent."""
LOOK_S = 0.1


class DrainPhase(IntEnum):
    """How far a drain has come."""

    SERVING = 0
    ANNOUNCED = 1
    """The other nodes are being told; nothing else has changed."""
    MIGRATING = 2
    """Viewers are sent elsewhere; new ones are still served."""
    CLOSING = 3
    """No new connections are taken; what is in flight is finished."""
    STOPPED = 4


@define(eq=False)
class Drain:
    """
    Takes a node out of service within ``limit_s`` and then calls ``end``, once; a limit of 0 ends it at once.

    Whatever serves somebody registers what it does when a phase begins (:meth:`at`), and what a phase has to wait for
    (:meth:`wait_for`).
    """

    limit_s: float
    clock: IReactorTime
    end: Callable[[], Any]
    phase: DrainPhase = field(default=DrainPhase.SERVING, init=False)
    _why: str = field(default="", init=False)
    _began_at: float = field(default=0.0, init=False)
    _actions: defaultdict[DrainPhase, list[Callable[[], object]]] = field(factory=lambda: defaultdict(list), init=False)
    _counts: defaultdict[DrainPhase, dict[str, Callable[[], int]]] = field(
        factory=lambda: defaultdict(dict), init=False
    )

    log: ClassVar[Logger] = Logger()

    def at(self, phase: DrainPhase, action: Callable[[], object]) -> None:
        """Call ``action`` when ``phase`` begins."""
        self._actions[phase].append(action)

    def wait_for(self, phase: DrainPhase, what: str, count: Callable[[], int]) -> None:
        """Let ``phase`` last until ``count()`` is zero, if there is time; ``what`` is the plural of what is counted."""
        self._counts[phase][what] = count

    def begin(self, why: str) -> None:
        """Start to drain, unless the node is draining already. ``why`` is for the log and for ``/readyz``."""
        if self.phase is not DrainPhase.SERVING:
            return
        self._why, self._began_at = why, self.clock.seconds()
        if self.limit_s:
            self.log.info("draining for at most {limit:g} s: {why}", limit=self.limit_s, why=why)
        self._enter(DrainPhase.ANNOUNCED)
        self.clock.callLater(LOOK_S, self._look)

    def begin_or_stop(self, why: str) -> None:
        """Start to drain; a node that is draining already stops at once."""
        if self.phase is DrainPhase.SERVING:
            self.begin(why)
        else:
            self.log.info("stopping at once: {why} while draining", why=why)
            self._enter(DrainPhase.STOPPED)

    def reasons(self) -> list[str]:
        """Why no viewer should be sent here; empty while the node is in service."""
        return [] if self.phase is DrainPhase.SERVING else [f"this node is draining: {self._why}"]

    def _look(self) -> None:
        while self.phase is not DrainPhase.STOPPED and self._is_done():
            self._enter(DrainPhase(self.phase + 1))
        if self.phase is not DrainPhase.STOPPED:
            self.clock.callLater(LOOK_S, self._look)

    def _is_done(self) -> bool:
        passed_s = self.clock.seconds() - self._began_at
        migrated_s = self.limit_s - min(FINISH_S, self.limit_s / 2)
        ends_at_s = {
            DrainPhase.ANNOUNCED: min(LEAD_S, migrated_s),
            DrainPhase.MIGRATING: migrated_s,
            DrainPhase.CLOSING: self.limit_s,
        }
        until_s, left = ends_at_s[self.phase], self._left()
        if passed_s < until_s:
            return self.phase is not DrainPhase.ANNOUNCED and not left
        if left and self.limit_s:
            self.log.warn(
                "draining: phase {phase} timed out with {left} remaining", phase=self.phase.name.lower(), left=left
            )
        return True

    def _left(self) -> str:
        """What the phase still waits for, for the log."""
        counts = ((what, count()) for what, count in self._counts[self.phase].items())
        return ", ".join(f"{count} {what}" for what, count in counts if count)

    def _enter(self, phase: DrainPhase) -> None:
        if self.phase is DrainPhase.STOPPED:
            return
        self.phase = phase
        for action in self._actions[phase]:
            try:
                action()
            except Exception:
                self.log.failure("draining: an action of phase {phase} failed", phase=phase.name.lower())
        if phase is DrainPhase.STOPPED:
            if self.limit_s:
                self.log.info("drained in {took:.1f} s", took=self.clock.seconds() - self._began_at)
            self.end()
