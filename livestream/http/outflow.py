"""
One answer's way to a plain TCP socket: no copy of a body in this process, and a flow control of its own.

Twisted's transport copies what it queues, and copies again what is left after each write. Here the kernel reads the
body's pages itself (``sendfile``), and a viewer whose socket is full costs an offset. The socket's send buffer must be
bounded (SO_SNDBUF): into one that the kernel has grown to megabytes, ``sendfile`` is several times slower.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from attrs import define, field
from twisted.internet import main
from twisted.internet.tcp import Connection

from livestream.net.body import Body

READ_BYTES = 65536
"""How much of a body without a file is read and sent at once."""


def bound_memory(connection: socket.socket, send_buffer_bytes: int) -> None:
    """Bound what the kernel holds for a viewer, in bytes and in time: a peer that has vanished is noticed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)


def is_free(transport: Connection) -> bool:
    """Whether bytes given to a connection's socket now are the next to reach the peer: its own queue is empty."""
    return not (transport._tempDataBuffer or transport.dataBuffer or transport.disconnecting)


@define(eq=False)
class Outflow:
    """
    The bytes of ``head`` and those of ``body`` from ``offset`` up to ``stop``, on their way to one socket.

    It sends at once what the socket takes. What is left goes when the socket is writable again, or when the body has
    grown. A body that fails has the connection aborted: a short answer must never look whole. ``done`` is called when
    the last byte is with the kernel, unless :meth:`begin` has already said so.
    """

    transport: Connection
    head: bytes
    body: Body | None
    offset: int
    stop: int
    done: Callable[[], None]
    moved_bytes: int = field(default=0, init=False)
    _is_armed: bool = field(default=False, init=False)
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
        """Wait until the socket takes more, in the place of the transport's own writer, which has nothing to write."""
        if not self._is_armed:
            self._is_armed = True
            self.transport.doWrite = self._do_write  # type: ignore[method-assign]
            self.transport.startWriting()

    def abandon(self) -> None:
        """The connection is gone, or will be: send nothing more."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._disarm()

    @property
    def is_blocked(self) -> bool:
        """Whether it waits for the peer to read, and not for the body to grow."""
        return self._is_armed

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
                    sent = os.sendfile(self.transport.fileno(), body.fd, self.offset, wanted)
                else:
                    wanted = min(wanted, READ_BYTES)
                    sent = self.transport.socket.send(body.read(self.offset, self.offset + wanted))
                self.offset += sent
                self.moved_bytes += sent
                if sent < wanted:
                    return False
        except (BlockingIOError, InterruptedError):
            return False
        return not self.head

    def _push_head(self, flags: int) -> None:
        sent = self.transport.socket.send(self.head, flags)
        self.head = self.head[sent:]
        self.moved_bytes += sent

    def _await_body(self) -> None:
        """Wait for the body alone, and not for the socket too, so that nothing is done twice."""
        self._disarm()
        if self.body is None or self.body.failed:
            self._fail()
        elif self._unwatch is None:
            self._unwatch = self.body.watch(self._grown)

    def _grown(self) -> None:
        if not self._is_armed and self.begin():
            self._finish()

    def _disarm(self) -> None:
        if self._is_armed:
            self._is_armed = False
            if self.transport.connected and not self.transport._aborting:
                self.transport.stopWriting()
            if vars(self.transport).get("doWrite") == self._do_write:  # an abort has put another in its place
                del self.transport.doWrite

    def _do_write(self) -> object:
        try:
            is_blocked = not self._push()
        except OSError:
            self.abandon()
            return main.CONNECTION_LOST
        if is_blocked:
            return None
        if self.offset < self.stop:
            self._await_body()
            return None
        self._finish()
        return self.transport.doWrite() if self.transport.disconnecting else None

    def _finish(self) -> None:
        self.abandon()
        self.done()

    def _fail(self) -> None:
        self.abandon()
        self.transport.abortConnection()
