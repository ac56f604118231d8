"""The bytes of an object, whole or still arriving, held once however many read them."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import ClassVar

from attrs import define, field
from twisted.logger import Logger

FILE_BYTES = 8192
"""From this size on a body is a memory file, for ``sendfile``."""
FILES_SHARE = 0.75
"""So much of the limit of open files may be memory files; the rest is for connections."""
FIRST_BYTES = 4096
"""
So much of a body is sent with the header of a response that many wait for, and is handed on as soon as it arrives: all
responses have begun before anyone is sent the rest, which takes the kernel much longer than a header.
"""


class BodyState(Enum):
    """Whether a body is complete."""

    ARRIVING = "more bytes are expected"
    WHOLE = "complete"
    FAILED = "the rest will not arrive"


@define(eq=False)
class Body:
    """
    Bytes that are appended once and read by many, each from its own position.

    ``size`` is ``None`` while it is not known. ``fd`` is a memory file with the bytes received, for ``sendfile``, or
    ``None`` for a small body and when the process has no descriptor to spare (`FILES_SHARE`); it is open as long as
    the body lives. Bytes that have been received never change.
    """

    size: int | None
    received: int = field(default=0, init=False)
    state: BodyState = field(default=BodyState.ARRIVING, init=False)
    fd: int | None = field(default=None, init=False)
    _small: bytearray = field(factory=bytearray, init=False)
    _watchers: dict[object, Callable[[], None]] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        if self.size is None or self.size >= FILE_BYTES:
            self.fd = _memory_file()

    def __del__(self) -> None:
        if self.fd is not None:
            os.close(self.fd)

    @classmethod
    def whole(cls, data: bytes) -> Body:
        """A complete body."""
        body = cls(len(data))
        body.append(data)
        body.finish()
        return body

    @classmethod
    def growing(cls, size: int | None) -> Body:
        """A body without any bytes yet."""
        return cls(size)

    @property
    def failed(self) -> bool:
        return self.state is BodyState.FAILED

    def append(self, data: bytes) -> None:
        """
        Add the bytes that follow, and call the watchers.

        :raises ValueError: they are more than ``size``, or no more can be added.
        """
        if self.state is not BodyState.ARRIVING or (self.size is not None and self.received + len(data) > self.size):
            raise ValueError(f"{len(data)} bytes are too many for a body of {self.size} that is {self.state.name}")
        if self.fd is None:
            self._small += data
        else:
            _write(self.fd, data, self.received)
        self.received += len(data)
        self._notify()

    def finish(self) -> None:
        """
        The body is complete.

        :raises ValueError: there are fewer bytes than ``size``.
        """
        if self.size is not None and self.received != self.size:
            raise ValueError(f"{self.received} of {self.size} bytes")
        self.size = self.received
        self._end(BodyState.WHOLE)

    def fail(self) -> None:
        """The rest will not arrive."""
        self._end(BodyState.FAILED)

    def read(self, start: int, stop: int) -> bytes:
        """A copy of the bytes from ``start`` up to ``stop``, as far as they have arrived."""
        stop = min(stop, self.received)
        if self.fd is None or start >= stop:
            return bytes(self._small[start:stop])
        return os.pread(self.fd, stop - start, start)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """
        Have ``changed`` called whenever there are more bytes, or no more will come; return a function that ends that.

        It is called from within :meth:`append`, so that all readers are sent what has arrived before more is received.
        """
        key = object()
        self._watchers[key] = changed
        return lambda: self._unwatch(key)

    def _unwatch(self, key: object) -> None:
        self._watchers.pop(key, None)

    def _end(self, state: BodyState) -> None:
        if self.state is BodyState.ARRIVING:
            self.state = state
            self._notify()
            self._watchers.clear()

    def _notify(self) -> None:
        """Call all watchers, even if one of them fails."""
        for key, changed in list(self._watchers.items()):
            if key in self._watchers:
                try:
                    changed()
                except Exception:
                    self.log.failure("internal error in a reader of a body")


def _memory_file() -> int | None:
    """A new memory file, or none if too many files are open: a new descriptor has the lowest free number."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        fd = os.memfd_create("body", os.MFD_CLOEXEC)
    except OSError:
        fd = limit
    if fd < FILES_SHARE * limit:
        return fd
    if fd < limit:
        os.close(fd)
    _warn_once(limit)
    return None


@cache
def _warn_once(limit: int) -> None:
    Body.log.warn(
        "the limit of {limit} open files is too low for more segments in memory files: raise it (LimitNOFILE=)",
        limit=limit,
    )


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
