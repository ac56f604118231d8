"""
The tier above, scripted: it has one live stream whose objects begin and arrive when they are told to.

    python benchmarks/http_origin.py PORT [--begin-ms 0] [--send-ms 0] [--streams 1]

``bench`` has a rendition of 64 KB objects, ``64p``, and several of 940 KB objects: ``940p``, and ``901p`` to ``920p``
for who wants one that nobody has asked for. Of each a new object is listed every three seconds. More streams,
``bench-1`` and so on, have ``64p`` alone. ``/count`` tells how often each path was asked for, and when the last
answer's first and last bytes were sent, on the monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter

from attrs import define, field

from livestream.bus.announcements import encode_document
from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced

STREAM = "bench"
COLD = [f"{number}p" for number in range(901, 921)]
RENDITIONS = {"64p": 64 * 1024, "940p": 940 * 1024, **dict.fromkeys(COLD, 940 * 1024)}
SEGMENT_S = 3
WINDOW = 12
PIECES = 20


def body_of(rendition: str) -> bytes:
    """The bytes of every object of a rendition: nothing that compresses, the same in every run."""
    size = RENDITIONS[rendition]
    seed = size.to_bytes(8)
    return b"".join(hashlib.sha256(seed + number.to_bytes(4)).digest() for number in range(size // 32))


@define(eq=False)
class Origin:
    begin_s: float
    send_s: float
    streams: int = 1
    epoch: int = field(factory=lambda: int(time.time() * 1000))
    bodies: dict[str, bytes] = field(factory=lambda: {name: body_of(name) for name in RENDITIONS})
    asked: Counter[str] = field(factory=Counter)
    first_s: float = 0.0
    last_s: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode().partition("?")[0]
                await self._answer(path, writer)
        writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/count":
            seen = {"asked": self.asked, "first_s": self.first_s, "last_s": self.last_s}
            await self._send(writer, "application/json", json.dumps(seen).encode())
            return
        self.asked[path] += 1
        parts = path.split("/")
        if parts[1] == "state":
            await self._send(writer, "application/json", self.state(parts[2:]))
        elif path.endswith(".m3u8"):
            await self._send(writer, "application/vnd.apple.mpegurl", self.playlist(parts[3]))
        elif path.endswith(".m4s"):
            await self._send_slowly(writer, self.bodies[parts[3]])
        else:
            await self._send(writer, "video/mp4", b"init" * 200)

    async def _send(self, writer: asyncio.StreamWriter, media_type: str, body: bytes) -> None:
        writer.write(head_of(media_type, len(body)) + body)
        await writer.drain()

    async def _send_slowly(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        await asyncio.sleep(self.begin_s)
        began = self.first_s = time.monotonic()
        writer.write(head_of("video/mp4", len(body)))
        piece = -(-len(body) // PIECES) if self.send_s else len(body)
        for number, start in enumerate(range(0, len(body), piece)):
            await asyncio.sleep(max(began + self.send_s * number / PIECES - time.monotonic(), 0))
            writer.write(body[start : start + piece])
            await writer.drain()
        self.last_s = time.monotonic()

    def state(self, streams: list[str]) -> bytes:
        """What the tier below reads: one stream's state, or those of all."""
        names = streams or [STREAM, *(f"{STREAM}-{number}" for number in range(1, self.streams))]
        return encode_document(told for name in names for told in self._announced(name))

    def playlist(self, rendition: str) -> bytes:
        """A media playlist of about 1 KB, for the peers: our own edge makes its own from the state."""
        lines = ["#EXTM3U", "#EXT-X-VERSION:6", f"#EXT-X-TARGETDURATION:{SEGMENT_S}"]
        segments = self._segments(rendition)
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{segments[0].msn}", f'#EXT-X-MAP:URI="{self.epoch}-init-0.mp4"']
        for segment in segments:
            assert segment.media is not None
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(segment.starts_at_ms / 1000))
            lines += [f"#EXT-X-PROGRAM-DATE-TIME:{at}", f"#EXTINF:{SEGMENT_S}.000,", segment.media.name]
        return "\n".join([*lines, ""]).encode()

    def _announced(self, stream: str) -> list[SegmentAnnounced]:
        names = RENDITIONS if stream == STREAM else ["64p"]
        epoch = Epoch(self.epoch, 0)
        return [
            SegmentAnnounced(stream, epoch, SEGMENT_S, self._info(name), segment)
            for name in names
            for segment in self._segments(name)
        ]

    def _info(self, name: str) -> RenditionInfo:
        rate = RENDITIONS[name] * 8 // SEGMENT_S
        return RenditionInfo(name, "avc1.64001f,mp4a.40.2", rate, rate, 16 * int(name[:-1]) // 9, int(name[:-1]), 30.0)

    def _segments(self, rendition: str) -> list[Segment]:
        newest = int(time.time()) // SEGMENT_S
        body = self.bodies[rendition]
        digest, init = hashlib.sha256(body).hexdigest(), b"init" * 200
        header = ObjectInfo(f"{self.epoch}-init-0.mp4", len(init), hashlib.sha256(init).hexdigest())
        return [
            Segment(msn, 0, msn * SEGMENT_S * 1000, SEGMENT_S * 1000,
                    ObjectInfo(f"{self.epoch}-{msn}.m4s", len(body), digest), header)
            for msn in range(newest - WINDOW + 1, newest + 1)
        ]  # fmt: skip


def head_of(media_type: str, length: int) -> bytes:
    fields = [
        "HTTP/1.1 200 OK",
        f"Content-Type: {media_type}",
        f"Content-Length: {length}",
        "Cache-Control: public, max-age=86400",
        'ETag: "bench"',
        "Access-Control-Allow-Origin: *",
    ]
    return "\r\n".join([*fields, "", ""]).encode()


async def run(args: argparse.Namespace) -> None:
    origin = Origin(args.begin_ms / 1000, args.send_ms / 1000, args.streams)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", args.port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--begin-ms", type=float, default=0)
    parser.add_argument("--send-ms", type=float, default=0)
    parser.add_argument("--streams", type=int, default=1)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
