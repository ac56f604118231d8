"""The way of one process to Redis, which can be cut for it alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field

from tests.ports import free_port


@define(eq=False)
class Wire:
    """A TCP port that leads to the unix socket at ``path``; while it is cut, every connection is closed at once."""

    path: Path
    port: int = field(factory=free_port)
    _is_cut: bool = field(default=False, init=False)
    _sockets: set[socket.socket] = field(factory=set, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Wire]:
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
            try:
                yield self
            finally:
                self.cut()
                listening.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for each in self._sockets:
                _shut(each)
            self._sockets.clear()

    def mend(self) -> None:
        with self._lock:
            self._is_cut = False

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listening.accept()
                self._join(here)

    def _join(self, here: socket.socket) -> None:
        there = socket.socket(socket.AF_UNIX)
        with self._lock:
            if self._is_cut:
                here.close()
                there.close()
                return
            self._sockets |= {here, there}
        there.connect(str(self.path))
        for source, sink in ((here, there), (there, here)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(sink)


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
