"""The access log: Common Log Format and what the cache did, gathered and written once a second."""

from __future__ import annotations

import os
import time
from typing import ClassVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

FLUSH_S = 1.0
FLUSH_LINES = 8192
"""Lines are written after so long, or when there are so many, whichever is sooner."""


def entry(line: bytes, code: int, length: int, outcome: str) -> bytes:
    """One response's line in the log, but for the host and the time. ``line`` is the request line."""
    return b'] "%b" %d %d %b\n' % (line.replace(b'"', b"%22"), code, length, outcome.encode("ascii") or b"-")


@define(eq=False)
class AccessLog:
    """
    Appends to the file ``path``. A file that was moved away is opened anew, so it can be rotated without a signal.

    A disk that is full costs lines and never a viewer.
    """

    path: str
    clock: IReactorTime
    _lines: list[bytes] = field(factory=list, init=False)
    _stamp: bytes = field(default=b"", init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _is_failing: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    def add(self, host: bytes, logged: bytes) -> None:
        """Log one response to ``host``, which is followed by the date's opening: ``b"192.0.2.1 - - ["``."""
        if self._call is None:
            self._begin()
        self._lines.append(host + self._stamp + logged)
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        lines, self._lines = self._lines, []
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, b"".join(lines))
            finally:
                os.close(descriptor)
        except OSError as reason:
            if not self._is_failing:
                self.log.warn("the access log cannot be written; entries are lost: {reason}", reason=reason)
            self._is_failing = True
        else:
            self._is_failing = False

    def _begin(self) -> None:
        now = time.gmtime(self.clock.seconds())
        self._stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", now).encode("ascii")
        self._call = self.clock.callLater(FLUSH_S, self.flush)
