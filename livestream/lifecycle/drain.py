"""How a node goes: it says so, serves on while viewers move elsewhere, finishes what it has begun, and ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

LEAD_S = 2.0
"""After so long every other node, and whoever looks at the readiness of this one, knows that it is going."""
FINISH_S = 4.0
"""So much of the time is kept for what is in flight at the end: a last segment, the answers that are being sent."""
LOOK_S = 0.1


class Phase(IntEnum):
    """Where a node is on its way out."""

    SERVING = 0
    TOLD = 1
    """The others are being told; nothing else has changed."""
    MOVING = 2
    """Who is here is sent elsewhere, and who comes is still served."""
    CLOSING = 3
    """Nobody new is taken, and what is in flight is finished."""
    GONE = 4


@define(eq=False)
class Draining:
    """
    Takes a node out of service within ``limit_s`` and then calls ``end``, once; a limit of 0 ends it at once.

    Parts say what they do when a phase begins (:meth:`at`), and what a phase has to wait for (:meth:`wait_for`).
    """

    limit_s: float
    clock: IReactorTime
    end: Callable[[], Any]
    phase: Phase = field(default=Phase.SERVING, init=False)
    _why: str = field(default="", init=False)
    _began_at: float = field(default=0.0, init=False)
    _actions: defaultdict[Phase, list[Callable[[], object]]] = field(factory=lambda: defaultdict(list), init=False)
    _counts: defaultdict[Phase, dict[str, Callable[[], int]]] = field(factory=lambda: defaultdict(dict), init=False)

    log: ClassVar[Logger] = Logger()

    def at(self, phase: Phase, action: Callable[[], object]) -> None:
        """Have something done when ``phase`` begins."""
        self._actions[phase].append(action)

    def wait_for(self, phase: Phase, what: str, count: Callable[[], int]) -> None:
        """Let ``phase`` last until ``count`` is nought, if there is time; ``what`` is the plural of what it counts."""
        self._counts[phase][what] = count

    def begin(self, why: str) -> None:
        """Go, unless the node is going already."""
        if self.phase is not Phase.SERVING:
            return
        self._why, self._began_at = why, self.clock.seconds()
        if self.limit_s:
            self.log.info("Draining, for at most {limit:g} s: {why}", limit=self.limit_s, why=why)
        self._enter(Phase.TOLD)
        self.clock.callLater(LOOK_S, self._look)

    def insist(self, why: str) -> None:
        """Go; if the node is going already, at once."""
        if self.phase is Phase.SERVING:
            self.begin(why)
        else:
            self.log.info("Told again to go: {why}. Ending at once", why=why)
            self._enter(Phase.GONE)

    def reasons(self) -> list[str]:
        """Why nobody should be sent here; nothing while the node is in service."""
        return [] if self.phase is Phase.SERVING else [f"this node is draining: {self._why}"]

    def _look(self) -> None:
        while self.phase is not Phase.GONE and self._is_done():
            self._enter(Phase(self.phase + 1))
        if self.phase is not Phase.GONE:
            self.clock.callLater(LOOK_S, self._look)

    def _is_done(self) -> bool:
        passed_s = self.clock.seconds() - self._began_at
        moved_s = self.limit_s - min(FINISH_S, self.limit_s / 2)
        until_s = {Phase.TOLD: min(LEAD_S, moved_s), Phase.MOVING: moved_s, Phase.CLOSING: self.limit_s}[self.phase]
        left = self._left()
        if passed_s < until_s:
            return self.phase is not Phase.TOLD and not left
        if left and self.limit_s:
            self.log.warn("Draining: the time for {phase} is up, with {left}", phase=self.phase.name.lower(), left=left)
        return True

    def _left(self) -> str:
        """What the phase still waits for, in words."""
        counts = ((what, count()) for what, count in self._counts[self.phase].items())
        return ", ".join(f"{count} {what}" for what, count in counts if count)

    def _enter(self, phase: Phase) -> None:
        if self.phase is Phase.GONE:
            return
        self.phase = phase
        for action in self._actions[phase]:
            try:
                action()
            except Exception:
                self.log.failure("Draining: something could not be done")
        if phase is Phase.GONE:
            if self.limit_s:
                self.log.info("Drained in {took:.1f} s", took=self.clock.seconds() - self._began_at)
            self.end()
