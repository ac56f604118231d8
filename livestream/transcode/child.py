"""A transcoding child as a process: its pipes, and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.model.frames import Frame
from livestream.net.token_bucket import TokenBucket
from livestream.transcode.commands import Command, Done, OutOfMemory, PipeError, Produced, RecordReader, Refused, encode
from livestream.transcode.sandbox import clean_environment

MAX_LINES = 40
"""So many lines of a child are logged at once, and one a second: broken media may have one for each frame."""
_ARGS = (sys.executable, "-m", "livestream.transcode.worker")


class Reactor(Protocol):
    """The part of a reactor that is used."""

    def seconds(self) -> float: ...
    def callLater(self, delay: float, call: Callable[..., object], /, *args: object) -> IDelayedCall: ...
    def spawnProcess(
        self, protocol: ProcessProtocol, executable: str, args: Sequence[str], env: dict[str, str]
    ) -> IProcessTransport: ...


class ChildOwner(Protocol):
    """What has started a child, and receives its output and its end."""

    @property
    def stream(self) -> str:
        """For the log."""

    def produced(self, child: Child, rendition: str, frame: Frame) -> None: ...
    def done(self, child: Child, flushed: bool) -> None: ...
    def refused(self, child: Child, reason: str) -> None: ...
    def died(self, child: Child, reason: str, detail: str) -> None:
        """It has ended, or no longer works: ``reason`` is a label of metrics."""


@define(eq=False)
class Child(ProcessProtocol):
    """One child, and its pipes."""

    owner: ChildOwner
    log = Logger()
    _records: RecordReader = field(factory=RecordReader, init=False)
    _ended: bool = field(default=False, init=False)
    _reactor: Reactor | None = field(default=None, init=False)
    _lines: TokenBucket = field(factory=lambda: TokenBucket(1, MAX_LINES), init=False)
    _unsaid: int = field(default=0, init=False)
    """How many lines were not logged since the last one that was."""

    @property
    def pid(self) -> int | None:
        return None if self.transport is None else self.transport.pid

    def start(self, reactor: Reactor) -> None:
        """
        Start the process.

        :raises OSError: that is not possible.
        """
        self._reactor = reactor
        reactor.spawnProcess(self, _ARGS[0], _ARGS, clean_environment(os.environ))

    def send(self, command: Command) -> None:
        if self.transport is not None and not self._ended:
            self.transport.write(encode(command))

    def kill(self) -> None:
        """Kill the child, which has nothing to clean up."""
        if self.transport is not None and not self._ended:
            self._ended = True
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def outReceived(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            for command in self._records.receive(data):
                if isinstance(command, Produced):
                    self.owner.produced(self, command.rendition, command.frame)
                elif isinstance(command, Done):
                    self.owner.done(self, command.flushed)
                elif isinstance(command, Refused):
                    self.owner.refused(self, command.reason)
                elif isinstance(command, OutOfMemory):
                    limit_mib = command.limit_bytes >> 20
                    self.owner.died(self, "memory", f"it needs more memory than its limit, {limit_mib} MiB")
        except PipeError as error:
            self.owner.died(self, "confused", f"it sent malformed data: {error}")

    def errReceived(self, data: bytes) -> None:
        assert self._reactor is not None
        for line in data.decode("utf-8", "replace").splitlines():
            if not self._lines.try_take(self._reactor.seconds()):
                self._unsaid += 1
                continue
            before = f" ({self._unsaid} lines before it are left out)" if self._unsaid else ""
            self._unsaid = 0
            message = "{stream}: transcoder: {line}{before}"
            self.log.warn(message, stream=self.owner.stream, line=line[:500], before=before)

    def processEnded(self, reason: Failure) -> None:
        self._ended = True
        self.owner.died(self, "crashed", f"it has crashed ({_end_of(reason)})")


def _end_of(reason: Failure) -> str:
    """The signal or exit code with which a process ended."""
    ended = reason.value
    if isinstance(ended, ProcessTerminated) and ended.signal is not None:
        return f"signal {ended.signal}"
    return f"exit code {ended.exitCode}" if isinstance(ended, ProcessTerminated) else "exit code 0"
