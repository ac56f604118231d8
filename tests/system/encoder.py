"""An encoder of one connection, which leaves as it is told to: in good order, or by closing its socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from attrs import define, field

from livestream.model.frames import Track
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused, Started
from tests.ingest.test_broadcast import media

ANSWER_S = 5.0
MEDIA_S = 60


@define(eq=False)
class Encoder:
    """Publishes at ``url``, ``rtmp://HOST:PORT/live/STREAM``, in real time, until it leaves or is refused."""

    url: str
    refusal: str = field(default="", init=False)
    _socket: socket.socket = field(init=False)
    _session: ClientSession = field(init=False)
    _over: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @contextmanager
    def running(self) -> Iterator[Encoder]:
        """Ask to publish, and do so if that is let in; ``refusal`` says why it was not."""
        parts = urlsplit(self.url)
        app, _, name = self.url.partition(f"{parts.netloc}/")[2].partition("/")
        self._session = ClientSession(b"encoder", app, f"rtmp://{parts.netloc}/{app}", name, publishes=True)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 1935), ANSWER_S)
        try:
            if self._is_let_in():
                self._thread = threading.Thread(target=self._send)
                self._thread.start()
            yield self
        finally:
            self._end()

    @property
    def is_cut(self) -> bool:
        """Whether the server has ended it."""
        return self._over.is_set()

    def leave(self, *, in_order: bool) -> None:
        """Go: with what OBS and ffmpeg say at the end, or by nothing but the end of the connection."""
        self._end(b"".join(_command(name) for name in ("FCUnpublish", "deleteStream")) if in_order else b"")

    def _end(self, last: bytes = b"") -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with suppress(OSError):
            self._socket.sendall(last)
        self._socket.close()

    def _is_let_in(self) -> bool:
        while True:
            self._socket.sendall(self._session.data_to_send())
            for event in self._session.receive_data(self._socket.recv(65_536)):
                if isinstance(event, PeerRefused):
                    self.refusal = event.description
                    return False
                if isinstance(event, Started):
                    return True

    def _send(self) -> None:
        began_s = time.monotonic()
        for frame in media(0, MEDIA_S * 1000):
            if self._over.wait(max(began_s + frame.dts_ms / 1000 - time.monotonic(), 0)):
                return
            self._session.send_media(9 if frame.track is Track.VIDEO else 8, frame.dts_ms, frame.body)
            try:
                self._socket.sendall(self._session.data_to_send())
            except OSError:
                self._over.set()


def _command(name: str) -> bytes:
    return b"".join(split(Message(20, 1, 0, encode(name, 0, None, 1)), 3, 65_536))
