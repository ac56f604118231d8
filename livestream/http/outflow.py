"""One answer's way to a plain socket: no copy of a body in this process, and a flow control of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable

from attrs import define, field

from livestream.net.body import Body
from livestream.net.direct_socket import DirectSocket

READ_BYTES = 65536
"""How much of a body without a file is read and sent at once."""


@define(eq=False)
class Outflow:
    """
    The bytes of ``head`` and those of ``body`` from ``offset`` up to ``stop``, on their way to one socket.

    It sends at once what the socket takes. What is left goes when the socket is writable again, or when the body has
    grown. A body that fails has the connection aborted: a short answer must never look whole. ``done`` is called when
    the last byte is with the kernel, unless :meth:`begin` has already said so.
    """

    direct: DirectSocket
    head: bytes
    body: Body | None
    offset: int
    stop: int
    done: Callable[[], None]
    moved_bytes: int = field(default=0, init=False)
    _unwatch: Callable[[], None] | None = field(default=None, init=False)

    def begin(self) -> bool:
        """Send what can be sent; return whether that was all."""
        try:
            is_blocked = not self._push()
        except OSError:
            self._fail()
            return False
        if is_blocked:
            self.wait()
        elif self.offset < self.stop:
            self._await_body()
        else:
            return True
        return False

    def wait(self) -> None:
        """Go on when the socket takes more."""
        self.direct.wait(self._writable)

    def abandon(self) -> None:
        """The connection is gone, or will be: send nothing more."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self.direct.stop_waiting()

    @property
    def is_blocked(self) -> bool:
        """Whether it waits for the peer to read, and not for the body to grow."""
        return self.direct.is_waiting

    def _push(self) -> bool:
        """
        Send what there is, and return whether the socket took it all.

        :raises OSError: the connection is broken.
        """
        body = self.body
        available = 0 if body is None else min(self.stop, body.received)
        try:
            if self.head:
                self._push_head(socket.MSG_MORE if available > self.offset else 0)
            while body is not None and self.offset < available and not self.head:
                wanted = available - self.offset
                if body.fd is not None:
                    sent = self.direct.sendfile(body.fd, self.offset, wanted)
                else:
                    wanted = min(wanted, READ_BYTES)
                    sent = self.direct.send(body.read(self.offset, self.offset + wanted))
                self.offset += sent
                self.moved_bytes += sent
                if sent < wanted:
                    return False
        except (BlockingIOError, InterruptedError):
            return False
        return not self.head

    def _push_head(self, flags: int) -> None:
        sent = self.direct.send(self.head, flags)
        self.head = self.head[sent:]
        self.moved_bytes += sent

    def _await_body(self) -> None:
        """Wait for the body alone, and not for the socket too, so that nothing is done twice."""
        self.direct.stop_waiting()
        if self.body is None or self.body.failed:
            self._fail()
        elif self._unwatch is None:
            self._unwatch = self.body.watch(self._grown)

    def _grown(self) -> None:
        if not self.is_blocked and self.begin():
            self._finish()

    def _writable(self) -> bool:
        """Send what the socket takes; return whether all is sent."""
        if not self.begin():
            return False
        self._finish()
        return True

    def _finish(self) -> None:
        self.abandon()
        self.done()

    def _fail(self) -> None:
        self.abandon()
        self.direct.transport.abortConnection()
