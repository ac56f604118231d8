"""A verifier outside: polls what every edge lists, fetches each segment once per edge, and plays every edge's push."""

from __future__ import annotations

import hashlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from attrs import define, field

from tests.lab.flv import FlvReader, Progress
from tests.lab.history import History
from tests.lab.lag import Lag
from tests.lab.media_time import begin_of, timescale_of
from tests.lab.proxy import Address
from tests.lab.waits import LongestWait
from tests.playlist_rules import Listed, read
from tests.system.processes import get

POLL_S = 0.25
ANSWER_S = 3.0
SILENT_S = 10.0
"""A player that has been told nothing for so long connects again."""
RETRY_S = 0.2


@define(eq=False)
class PlaylistWatcher:
    """Polls the playlist of one stream at one edge."""

    edge: str
    url: str
    history: History
    lock: threading.Lock
    _timescales: dict[str, int] = field(factory=dict, init=False)

    def poll(self) -> None:
        status, _, body = get(f"{self.url}/index.m3u8", ANSWER_S)
        if status != 200:
            return
        playlist = read(body.decode())
        with self.lock:
            self.history.see(self.edge, playlist, time.monotonic())
            have = set(self.history.edge(self.edge).digests)
        for segment in playlist.segments:
            if segment.msn not in have and not segment.is_gap:
                self._fetch(segment)

    def _fetch(self, segment: Listed) -> None:
        """Fetch a segment; one that fails is asked for again for as long as it is listed."""
        status, _, body = get(f"{self.url}/{segment.uri}", ANSWER_S)
        if status == 200:
            begin_s = begin_of(body, self._timescale(segment.map_uri))
            with self.lock:
                self.history.fetched(self.edge, segment.msn, hashlib.sha256(body).hexdigest(), begin_s)

    def _timescale(self, map_uri: str | None) -> int:
        if map_uri is None:
            return 0
        if map_uri not in self._timescales:
            status, _, body = get(f"{self.url}/{map_uri}", ANSWER_S)
            if status != 200:
                return 0
            self._timescales[map_uri] = timescale_of(body)
        return self._timescales[map_uri]


@define(eq=False)
class PushViewer:
    """Plays the push of one stream at one edge by FLV, and connects again whenever it ends."""

    edge: str
    address: Address
    path: str
    lock: threading.Lock
    silence: LongestWait = field(factory=LongestWait)
    lag: Lag = field(factory=Lag)
    connections: int = 0

    def play(self, stop: threading.Event) -> None:
        while not stop.wait(RETRY_S if self.connections else 0):
            self.connections += 1
            with suppress(OSError), socket.create_connection(self.address, ANSWER_S) as connection:
                self._play(connection, stop)

    def _play(self, connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(f"GET {self.path} HTTP/1.0\r\nHost: viewer\r\n\r\n".encode())
        head, reader, progress, heard_at = b"", None, Progress(), time.monotonic()
        while not stop.is_set() and time.monotonic() < heard_at + SILENT_S:
            if not select.select([connection], [], [], 0.2)[0]:
                continue
            data = connection.recv(1 << 16)
            if not data:
                return
            heard_at = time.monotonic()
            if reader is None:
                head += data
                if b"\r\n\r\n" not in head:
                    continue
                if head.split(maxsplit=2)[1] != b"200":
                    return
                reader, data = FlvReader(), head.partition(b"\r\n\r\n")[2]
            timestamp_ms = reader.receive(data)
            if timestamp_ms is not None and progress.is_new(timestamp_ms, heard_at):
                with self.lock:
                    self.silence.happened(heard_at)
                    self.lag.note(self.connections, heard_at, timestamp_ms)


@define(eq=False)
class Verifier:
    """Watches ``streams`` at ``edges`` from threads of its own."""

    edges: dict[str, Address]
    streams: Sequence[str]
    histories: dict[str, History] = field(init=False)
    pushes: list[PushViewer] = field(factory=list, init=False)
    failures: list[str] = field(factory=list, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)
    _silent_streams: set[str] = field(factory=set, init=False)
    _away: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.histories = {stream: History(stream) for stream in self.streams}

    @contextmanager
    def watching(self) -> Iterator[Verifier]:
        for edge, address in self.edges.items():
            for stream in self.streams:
                self._start(self._watch_playlist, edge, address, stream)
                self._start(self._watch_push, edge, address, stream)
        try:
            yield self
        finally:
            self.finish()

    def finish(self) -> None:
        """Look once more, so that all that was listed has been asked for, and count the waits that are not over."""
        self._stop.set()
        while self._threads:
            self._threads.pop().join(SILENT_S)
        now = time.monotonic()
        with self._lock:
            for history in self.histories.values():
                for edge in history.edges.values():
                    edge.growth.note(now)
            for push in self.pushes:
                push.silence.note(now)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _watch_playlist(self, edge: str, address: Address, stream: str) -> None:
        url = f"http://{address[0]}:{address[1]}/live/{stream}/source"
        watcher = PlaylistWatcher(edge, url, self.histories[stream], self._lock)
        is_last = False
        while not is_last:
            is_last = self._stop.wait(POLL_S)
            try:
                watcher.poll()
            except Exception as error:
                self.failures.append(f"the verifier of {edge} failed: {error!r}")
                raise

    def _watch_push(self, edge: str, address: Address, stream: str) -> None:
        viewer = PushViewer(edge, address, f"/live/{stream}.flv", self._lock)
        self.pushes.append(viewer)
        viewer.play(self._stop)

    def expect_media(self, stream: str, is_expected: bool) -> None:
        """Say whether somebody publishes a stream: while nobody does, waits are not counted."""
        with self._lock:
            (self._silent_streams.discard if is_expected else self._silent_streams.add)(stream)
            self._expect()

    def expect_edge(self, edge: str, is_expected: bool) -> None:
        """Say whether an edge can be expected to answer: one that was killed cannot."""
        with self._lock:
            (self._away.discard if is_expected else self._away.add)(edge)
            for history in self.histories.values():
                if is_expected:
                    history.edge(edge).is_away = False
                else:
                    history.edge(edge).leave()
            self._expect()

    def _expect(self) -> None:
        now = time.monotonic()
        for stream, history in self.histories.items():
            for edge in self.edges:
                is_expected = stream not in self._silent_streams and edge not in self._away
                history.edge(edge).growth.expect(is_expected, now)
                for push in self.pushes:
                    if push.edge == edge and push.path == f"/live/{stream}.flv":
                        push.silence.expect(is_expected, now)

    def growths_since(self, begin_s: float) -> list[list[float]]:
        """When each list has grown since then, for each stream and edge."""
        with self._lock:
            histories = [history.edge(edge) for history in self.histories.values() for edge in self.edges]
            return [[at for at in history.growths_s if at >= begin_s] for history in histories]

    def push_lags(self, begin_s: float) -> list[float]:
        """By how many seconds what was pushed since then was later than before, the least first."""
        now = time.monotonic()
        with self._lock:
            return sorted(late_s for push in self.pushes for late_s in push.lag.added(begin_s, now))

    def lines(self) -> Iterator[str]:
        """Everything that was listed, a line for each number at each edge, and the longest wait of each viewer."""
        for stream, history in self.histories.items():
            for edge, seen in sorted(history.edges.items()):
                for msn, segment in sorted(seen.listed.items()):
                    place = f"{seen.seen_s[msn]:.2f} s: {msn} discontinuity {segment.discontinuity}, {segment.date_s}"
                    what = "gap" if segment.is_gap else f"{segment.uri} {seen.digests.get(msn, 'not fetched')[:8]}"
                    yield f"{stream} on {edge} {place}, {segment.duration_s} s, begins {seen.begins_s.get(msn)}, {what}"
        for push in self.pushes:
            silence = push.silence
            yield f"{push.path} on {push.edge} {silence.longest_until_s:.2f} s: nothing for {silence.longest_s:.2f} s"
