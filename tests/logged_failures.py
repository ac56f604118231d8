"""Failures that the code under test has logged: each fails its test, unless the test takes it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field
from twisted.logger import LogEvent
from twisted.python.failure import Failure

from tests.logs import observed


@define(eq=False)
class LoggedFailures:
    """The log events of one test that have a failure, those of Deferreds that nobody handled among them."""

    _events: list[LogEvent] = field(factory=list, init=False)

    @contextmanager
    def observed(self) -> Iterator[None]:
        with observed(self._observe):
            yield
            # A Deferred logs its failure when it is freed. What a test leaves is young: no full collection is needed.
            gc.collect(1)

    def take(self, kind: type[BaseException]) -> list[LogEvent]:
        """The events with a failure of ``kind`` since the last call, at least one; they are expected by the test."""
        taken = [event for event in self._events if event["log_failure"].check(kind)]
        assert taken, f"no {kind.__name__} was logged; failures that were: {self.describe() or 'none'}"
        self._events = [event for event in self._events if event not in taken]
        return taken

    def describe(self) -> str:
        """What was logged and not taken, with tracebacks."""
        failures: list[Failure] = [event["log_failure"] for event in self._events]
        return "\n".join(failure.getTraceback() for failure in failures)

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            self._events.append(event)
