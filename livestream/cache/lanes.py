"""Work that runs so many pieces at a time; the rest waits in a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred

Work = Callable[[], Deferred[None]]


@define(eq=False)
class _Job:
    """A piece of work, queued or running; ``ended`` fires with its result."""

    work: Work
    ended: Deferred[None] = field(init=False)
    _working: Deferred[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.ended = Deferred(self._cancel)

    def begin(self) -> Deferred[None]:
        self._working = maybeDeferred(self.work)
        return self._working

    def _cancel(self, _: Deferred[None]) -> None:
        if self._working is not None:
            self._working.cancel()


@define(eq=False)
class Lanes:
    """
    Runs at most ``count`` pieces of work at once, first come, first served.

    Unlike Twisted's DeferredSemaphore it never starts one from within the end of another, so hundreds that fail
    synchronously do not recurse.
    """

    count: int
    _waiting: deque[_Job] = field(factory=deque, init=False)
    _running: int = field(default=0, init=False)
    _is_starting: bool = field(default=False, init=False)

    def run(self, work: Work) -> Deferred[None]:
        """Run ``work`` when its turn has come; cancelling the result removes it from the queue, or cancels it."""
        job = _Job(work)
        self._waiting.append(job)
        self._start()
        return job.ended

    def _start(self) -> None:
        if self._is_starting:
            return
        self._is_starting = True
        try:
            while self._waiting and self._running < self.count:
                job = self._waiting.popleft()
                if not job.ended.called:
                    self._running += 1
                    job.begin().addBoth(self._end, job)
        finally:
            self._is_starting = False

    def _end(self, result: Any, job: _Job) -> None:
        self._running -= 1
        if not job.ended.called:
            job.ended.callback(result)
        self._start()
