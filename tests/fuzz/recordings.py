"""Recorded RTMP conversations of ffmpeg, as publisher and as player, with our server."""

from __future__ import annotations

import socket
import subprocess
from functools import cache

import imageio_ffmpeg
from attrs import define, field

from livestream.rtmp.chunks import Message, split
from livestream.rtmp.events import PlayRequested, PublishRequested
from livestream.rtmp.handshake import SIZE
from livestream.rtmp.server import ServerSession
from tests.media.encoded import broadcast, tags
from tests.rtmp.reading import read_events

ENOUGH_BYTES = 2 * SIZE + 8192
SOURCE = ("-f", "lavfi", "-i", "testsrc=size=32x32:rate=10:duration=1", "-f", "lavfi", "-i", "sine=duration=1")
ENCODE = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "5", "-c:a", "aac", "-f", "flv")


@define(eq=False)
class _Recorder:
    """Serves one connection of a program, and records both directions."""

    program: list[str]
    received: bytearray = field(factory=bytearray)
    sent: bytearray = field(factory=bytearray)

    def record(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(20)
            url = f"rtmp://127.0.0.1:{listener.getsockname()[1]}/live/show"
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *self.program]
            process = subprocess.Popen([word.replace("URL", url) for word in command], stdin=subprocess.DEVNULL)
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(20)
                    self._serve(connection)
            finally:
                process.kill()
                process.wait()

    def _serve(self, connection: socket.socket) -> None:
        session = ServerSession(b"recorder")
        plays = False
        while len(self.received) < ENOUGH_BYTES and (data := connection.recv(65536)):
            self.received += data
            for event in read_events(session, data):
                if isinstance(event, PublishRequested):
                    session.accept_publish()
                elif isinstance(event, PlayRequested):
                    session.accept_play(4096)
                    plays = True
            out = session.data_to_send() + (_media() if plays else b"")
            self.sent += out
            connection.sendall(out)
            if plays:
                return


def _media() -> bytes:
    found = tags(broadcast(seconds=0.2, size=(32, 32)))
    messages = [Message(tag.type_id, 1, tag.timestamp_ms, tag.body) for tag in found]
    return b"".join(chunk for message in messages for chunk in split(message, 6, 4096))


@cache
def recorded() -> dict[str, bytes]:
    """The bytes after the handshake in each direction, of a publishing and of a playing ffmpeg."""
    publisher = _Recorder([*SOURCE, *ENCODE, "URL"])
    player = _Recorder(["-i", "URL", "-f", "null", "-"])
    for each in (publisher, player):
        each.record()
    return {
        name: bytes(data[2 * SIZE + 1 :])
        for name, data in (
            ("publisher", publisher.received),
            ("player", player.received),
            ("server of a publisher", publisher.sent),
            ("server of a player", player.sent),
        )
    }
