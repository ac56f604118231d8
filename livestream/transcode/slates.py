"""The parent's side of slates: one for each shape that is asked for, encoded by one child after another."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict, deque
from pathlib import Path
from typing import ClassVar

from attrs import define, field
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.config import ConfigError
from livestream.media.slate import Slate, SlateShape, picture_type
from livestream.transcode.child import Reactor
from livestream.transcode.commands import PipeError, Produced, RecordReader
from livestream.transcode.sandbox import clean_environment

MAX_PICTURE_BYTES = 16 << 20
MAX_SLATES = 64
"""How many shapes are kept; publishers decide how many there are."""
MAX_WAITING = 16
"""And so many may wait for a child."""
ENCODING_S = 20.0
"""The time that one may take."""
RETRY_S = 60.0
"""One that has failed is tried again after this time: the machine may have been too busy."""
MAX_ERROR_BYTES = 4 << 10


def read_picture(path: Path) -> bytes:
    """
    Read a PNG or JPEG.

    :raises ConfigError: it cannot be read, or is something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"ingest.slate: {str(path)!r} cannot be read: {error.strerror}"]) from None
    if len(data) > MAX_PICTURE_BYTES:
        raise ConfigError([f"ingest.slate: {str(path)!r} is larger than {MAX_PICTURE_BYTES >> 20} MiB"])
    if picture_type(data) is None:
        raise ConfigError([f"ingest.slate: {str(path)!r} is neither a PNG nor a JPEG"])
    return data


@define(eq=False)
class Slates:
    """The slates of ``picture``, a PNG or JPEG, which is the content of the file ``name``."""

    reactor: Reactor
    name: str
    picture: bytes
    _known: OrderedDict[SlateShape, Slate | None] = field(factory=OrderedDict, init=False)
    """Those that have been encoded, the latest used last; ``None`` if that failed."""
    _failed_at: float = field(default=0.0, init=False)
    _is_stopped: bool = field(default=False, init=False)
    _waiting: deque[SlateShape] = field(factory=deque, init=False)
    _child: _Child | None = field(default=None, init=False)
    log: ClassVar[Logger] = Logger()

    @property
    def pid(self) -> int | None:
        """The child's, if there is one."""
        return None if self._child is None or self._child.transport is None else self._child.transport.pid

    def get(self, shape: SlateShape) -> Slate | None:
        """The slate of this shape; ``None`` while it is being encoded, and if it cannot be."""
        if shape in self._known:
            self._known.move_to_end(shape)
            slate = self._known[shape]
            if slate is not None or self.reactor.seconds() - self._failed_at < RETRY_S:
                return slate
        if self._is_stopped:
            return None
        is_begun = self._child is not None and self._child.shape == shape
        if not is_begun and shape not in self._waiting and len(self._waiting) < MAX_WAITING:
            self._waiting.append(shape)
            self._encode_next()
        return None

    def stop(self) -> None:
        """End the child, if there is one; nothing more is encoded."""
        self._is_stopped = True
        self._waiting.clear()
        if self._child is not None:
            self._child.kill()

    def ended(self, shape: SlateShape, slate: Slate | None, error: str) -> None:
        """The child has ended. Called by it."""
        self._child = None
        if self._is_stopped:
            return
        if slate is None:
            self._failed_at = self.reactor.seconds()
            message = "ingest.slate: {name} cannot be shown at {width}x{height}: {error}"
            self.log.warn(message, name=self.name, width=shape.width, height=shape.height, error=error)
        self._known[shape] = slate
        if len(self._known) > MAX_SLATES:
            self._known.popitem(last=False)
        self._encode_next()

    def _encode_next(self) -> None:
        if self._child is not None or not self._waiting:
            return
        shape = self._waiting.popleft()
        size = (shape.width, shape.height, *shape.sample_aspect)
        args = (sys.executable, "-m", "livestream.transcode.slate", *map(str, size))
        child = self._child = _Child(self, shape)
        try:
            self.reactor.spawnProcess(child, args[0], args, clean_environment(os.environ))
        except OSError as error:
            self.ended(shape, None, str(error))


@define(eq=False)
class _Child(ProcessProtocol):
    slates: Slates
    shape: SlateShape
    _records: RecordReader = field(factory=RecordReader, init=False)
    _produced: list[Produced] = field(factory=list, init=False)
    _error: bytes = field(default=b"", init=False)
    _deadline: IDelayedCall | None = field(default=None, init=False)

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._deadline = self.slates.reactor.callLater(ENCODING_S, self.kill)
        self.transport.write(self.slates.picture)
        self.transport.closeStdin()

    def kill(self) -> None:
        assert self.transport is not None
        self._error += b"\nit was killed"
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def outReceived(self, data: bytes) -> None:
        try:
            self._produced += [each for each in self._records.receive(data) if isinstance(each, Produced)]
        except PipeError as error:
            self._error += f"\n{error}".encode()

    def errReceived(self, data: bytes) -> None:
        self._error = (self._error + data)[-MAX_ERROR_BYTES:]

    def processEnded(self, reason: Failure) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        frames = [each.frame for each in self._produced]
        slate = Slate(*frames) if len(frames) == 2 else None
        lines = self._error.decode("utf-8", "replace").split("\n")
        error = next((line for line in reversed(lines) if line.strip()), "the encoder has failed")
        self.slates.ended(self.shape, slate, error)
