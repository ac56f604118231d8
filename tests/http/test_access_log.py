from pathlib import Path

import pytest
from twisted.internet.task import Clock

from livestream.http.access_log import FLUSH_LINES, AccessLog, entry
from tests.hls.edge import Edge
from tests.hls.windows import EPOCH
from tests.http.wire import Client


@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "klein"])
def test_every_answer_has_a_line_with_what_the_cache_did(tmp_path: Path, is_hot: bool) -> None:
    edge = Edge(is_hot=is_hot)
    edge.site.access = AccessLog(str(tmp_path / "log"), edge.loop)
    edge.library.put("s", "720p", f"{EPOCH}-1.m4s", b"x" * 10000)
    client: Client = edge.client()
    path = f"/live/s/720p/{EPOCH}-1.m4s"
    client.ask(path)
    client.ask(path + '?"', method="HEAD")
    client.ask("/nothing")
    edge.pass_time(2)
    client.ask(path, "Range: bytes=0-9")
    edge.pass_time(2)
    start = "127.0.0.1 - - [15/Jan/2027:08:00:"
    assert (tmp_path / "log").read_text().splitlines() == [
        f'{start}00 +0000] "GET {path} HTTP/1.1" 200 10000 hit',
        f'{start}00 +0000] "HEAD {path}?%22 HTTP/1.1" 200 0 hit',
        f'{start}00 +0000] "GET /nothing HTTP/1.1" 404 14 error',
        f'{start}02 +0000] "GET {path} HTTP/1.1" 206 10 hit',
    ]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "log"
    access = AccessLog(str(path), clock)
    for number in range(2):
        access.add(b"h - - [", entry(b"GET /%d HTTP/1.1" % number, 200, 1, "hit"))
        clock.advance(1)
        path.rename(tmp_path / f"log.{number}")
    assert [b"/0" in (tmp_path / "log.0").read_bytes(), b"/1" in (tmp_path / "log.1").read_bytes()] == [True, True]


def test_lines_that_cannot_be_written_are_dropped(tmp_path: Path) -> None:
    clock = Clock()
    access = AccessLog(str(tmp_path / "no" / "log"), clock)
    for _ in range(2 * FLUSH_LINES):
        access.add(b"h - - [", entry(b"GET / HTTP/1.1", 200, 1, ""))
    (tmp_path / "no").mkdir()
    access.add(b"h - - [", entry(b"GET /now HTTP/1.1", 200, 1, ""))
    clock.advance(1)
    assert (tmp_path / "no" / "log").read_bytes().count(b"\n") == 1
    assert clock.getDelayedCalls() == []
