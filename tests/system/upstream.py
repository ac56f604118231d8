"""
A node of the tier above that starts in a moment and can be killed at any: what it was asked for is on its output.

    python upstream.py PORT STATES GIVES

It answers ``/state`` with the file STATES, and gives objects slowly. Where it does not give the last byte, it can be
killed before it has given all, however late: to ``nobody``, to those who ask for ``parts`` or to ``all`` it gives it.
"""

from __future__ import annotations

import hashlib
import re
import socketserver
import sys
import time
from pathlib import Path

SIZE = 940 * 1024
PIECE = 64
"""Pieces are of up to 256 times as much, and 8 KB on the average; one takes a millisecond."""
PIECE_S = 0.001
RANGE = re.compile(r"Range: bytes=(\d+)-\r\n")


def body_of(path: str) -> bytes:
    """The bytes of an object: nothing that compresses, other ones of each object, the same in every run."""
    return hashlib.shake_256(path.encode()).digest(SIZE)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class Connection(socketserver.StreamRequestHandler):
    """A connection that is kept until the client closes it."""

    def handle(self) -> None:
        while path := self.rfile.readline().decode().partition(" ")[2].partition(" ")[0]:
            fields = "".join(iter(lambda: self.rfile.readline().decode(), "\r\n"))
            if path.startswith("/state"):
                self._head("200 OK", len(states))
                self.wfile.write(states)
            else:
                self._give(path, fields)

    def _give(self, path: str, fields: str) -> None:
        body = body_of(path)
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        asked = RANGE.search(fields) if f"If-Range: {tag}\r\n" in fields else None
        start = int(asked[1]) if asked else 0
        print("asked", path, start, flush=True)
        if asked:
            self._head("206 Partial Content", SIZE - start, f"Content-Range: bytes {start}-{SIZE - 1}/{SIZE}")
        else:
            self._head("200 OK", SIZE, f"ETag: {tag}")
        self._send_slowly(body, start, SIZE if gives == "all" or (gives == "parts" and asked) else SIZE - 1)

    def _send_slowly(self, body: bytes, start: int, end: int) -> None:
        while start < end:
            stop = min(start + PIECE * (1 + body[start]), end)
            self.wfile.write(body[start:stop])
            time.sleep(PIECE_S)
            start = stop

    def _head(self, status: str, length: int, *more: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", *more, "", ""]
        self.wfile.write("\r\n".join(lines).encode())


if __name__ == "__main__":
    states = Path(sys.argv[2]).read_bytes()
    gives = sys.argv[3]
    with Server(("127.0.0.1", int(sys.argv[1])), Connection) as server:
        print("listens", flush=True)
        server.serve_forever()
