"""
HLS players without a decoder: each polls its playlist, fetches what is new, and counts where a viewer would wait.

A player begins three segments behind the newest, as hls.js does, and has a stall when a segment comes later than the
one before it has been played. One whose edge is gone goes on at the next.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Sequence

from attrs import define, field

BEHIND = 3
ANSWER_S = 5.0
"""An edge that has not answered by then is taken for lost."""
_SEGMENT = re.compile(r"#EXTINF:([\d.]+),[^\n]*\n(?:#[^\n]*\n)*([^#\n]+\.m4s)")

Location = tuple[str, int]
"""An edge: address and port."""


@define(eq=False)
class Record:
    """What all players have seen."""

    counts: Counter[str] = field(factory=Counter)
    stalls: list[tuple[float, float, Location]] = field(factory=list)
    """When, for how many seconds, and at which edge."""
    waits_s: list[float] = field(factory=list)
    newest: dict[tuple[Location, str], int] = field(factory=dict)
    """The newest sequence number that an edge has listed of a stream's rendition."""
    first: dict[tuple[Location, str], int] = field(factory=dict)
    missing: set[str] = field(factory=set)
    """Segments that were listed and could not be fetched."""

    def listed(self, place: Location, path: str, first: int, newest: int) -> None:
        """Note a playlist; sequence numbers never go back."""
        if first < self.first.get((place, path), 0) or newest < self.newest.get((place, path), 0):
            self.counts["regressions"] += 1
        self.first[place, path], self.newest[place, path] = first, newest


@define(eq=False)
class Connection:
    """One keep-alive connection to one edge."""

    place: Location
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> tuple[int, bytes]:
        """Fetch ``path``. :raises OSError: the edge is gone, or does not answer."""
        for is_last in (False, True):
            try:
                return await asyncio.wait_for(self._get(path), ANSWER_S)
            except (OSError, EOFError, TimeoutError) as error:
                was_fresh = self._reader is None
                self.close()
                if is_last or was_fresh or isinstance(error, TimeoutError):
                    raise ConnectionError(f"{self.place} {path}: {error!r}") from error
        raise AssertionError

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _get(self, path: str) -> tuple[int, bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(*self.place, limit=1 << 20)
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: players\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        found = re.search(rb"content-length: (\d+)", head)
        body = await self._reader.readexactly(int(found[1]) if found else 0)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body


@define(eq=False)
class Player:
    """Plays one rendition until ``until`` (on the monotonic clock)."""

    path: str
    places: Sequence[Location]
    """The edges, the one to begin with first."""
    record: Record
    until: float
    renditions: Sequence[str] = ()
    """With several of them the player changes now and then."""
    _turn: int = field(default=0, init=False)
    _have: int | None = field(default=None, init=False)
    _buffered_until: float | None = field(default=None, init=False)

    async def run(self) -> None:
        connection = Connection(self.places[0])
        while time.monotonic() < self.until:
            try:
                pause_s = await self._poll(connection)
            except OSError:
                self.record.counts["moves"] += 1
                self._turn += 1
                connection = Connection(self.places[self._turn % len(self.places)])
                pause_s = 0.1
            await asyncio.sleep(pause_s)
        connection.close()

    async def _poll(self, connection: Connection) -> float:
        """Fetch what is new; return when to look again, in seconds."""
        if self.renditions and random.random() < 0.02:
            self.path = f"{self.path.rpartition('/')[0]}/{random.choice(self.renditions)}"
        code, body = await connection.get(f"{self.path}/index.m3u8")
        self.record.counts[f"playlist {code}"] += 1
        if code != 200:
            return 0.5
        text = body.decode()
        first, target_s = _number("MEDIA-SEQUENCE", text), _number("TARGETDURATION", text)
        segments = _SEGMENT.findall(text)
        newest = first + text.count("#EXTINF") - 1
        self.record.listed(connection.place, self.path, first, newest)
        if not segments:
            return target_s / 2
        if self._have is None or self._have < first - 1:
            await self._begin(connection, text, newest, late=self._have is not None)
        has_more = False
        for duration, name in segments:
            number = int(name.rpartition("-")[2].partition(".")[0])
            if self._have is not None and number > self._have:
                await self._take(connection, name, float(duration))
                self._have, has_more = number, True
        return target_s if has_more else target_s / 2

    async def _begin(self, connection: Connection, text: str, newest: int, late: bool) -> None:
        self.record.counts["fell out of the window"] += late
        self._have = newest - BEHIND
        found = re.search(r'MAP:URI="([^"]+)"', text)
        if found:
            await connection.get(f"{self.path}/{found[1]}")

    async def _take(self, connection: Connection, name: str, duration_s: float) -> None:
        asked = time.monotonic()
        code, body = await connection.get(f"{self.path}/{name}")
        now = time.monotonic()
        self.record.waits_s.append(now - asked)
        self.record.counts[f"segment {code}"] += 1
        self.record.counts["bytes"] += len(body)
        if code != 200:
            self.record.missing.add(f"{connection.place[0]} {self.path}/{name}")
        elif self._buffered_until is not None and now > self._buffered_until:
            self.record.stalls.append((now, now - self._buffered_until, connection.place))
            self._buffered_until = now
        self._buffered_until = (self._buffered_until or now) + duration_s


def _number(tag: str, text: str) -> int:
    found = re.search(rf"#EXT-X-{tag}:(\d+)", text)
    return int(found[1]) if found else 0
