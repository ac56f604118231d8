from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from typing import cast
from weakref import ref

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, formatEvent, textFileLogObserver

from livestream.net.log_summary import LogSummary, printable


@define(eq=False)
class Book:
    """A log that is read as it would be in a file."""

    clock: Clock = field(factory=Clock)
    _file: io.StringIO = field(factory=io.StringIO)
    summary: LogSummary = field(init=False)

    def __attrs_post_init__(self) -> None:
        log = Logger(namespace="books", observer=textFileLogObserver(self._file, timeFormat=None))
        text = "{count} names in the last {seconds} s, such as '{name}' from {peer}"
        self.summary = LogSummary(log, text, self.clock)

    def lines(self) -> list[str]:
        return [line.partition("] ")[2] for line in self._file.getvalue().splitlines()]


@pytest.fixture
def book() -> Iterator[Book]:
    yield Book()


def test_what_happens_often_is_one_line_in_ten_seconds_with_a_count_and_the_first_example(book: Book) -> None:
    for number in range(37):
        book.summary.note(name=f"show{number}", peer="192.0.2.1")
    book.clock.advance(9.9)
    assert book.lines() == []
    book.clock.advance(0.1)
    assert book.lines() == ["37 names in the last 10 s, such as 'show0' from 192.0.2.1"]


def test_each_period_counts_anew_and_a_quiet_one_logs_nothing(book: Book) -> None:
    book.summary.note(name="a", peer="192.0.2.1")
    book.clock.advance(10)
    book.clock.advance(60)
    assert book.clock.getDelayedCalls() == []
    book.summary.note(name="b", peer="192.0.2.2")
    book.clock.advance(10)
    assert [line[:7] for line in book.lines()] == ["1 names", "1 names"] and "'b' from 192.0.2.2" in book.lines()[1]


@pytest.mark.parametrize(
    "name",
    ["a\nb", "a\r\n2026-01-01 [-] all is well", "\x1b[2J", "{count}", "\u202eevil", "x\x00", "\ud800", "é" * 70],
    ids=ascii,
)
def test_a_strangers_name_stays_on_its_line_in_printable_ascii(book: Book, name: str) -> None:
    book.summary.note(name=name, peer="192.0.2.1")
    book.clock.advance(10)
    [line] = book.lines()
    assert line.isascii() and line.isprintable() and line.endswith("' from 192.0.2.1")


def test_a_long_name_is_cut_short() -> None:
    assert printable("x" * 64) == "x" * 64
    assert printable("x" * 10_000) == "x" * 64 + "..."


def test_whose_log_it_is_is_freed_at_once_and_its_line_still_comes() -> None:
    lines: list[str] = []

    class Owner:
        log = Logger(
            observer=cast(ILogObserver, lambda event: lines.append(f"{event['log_namespace']}: {formatEvent(event)}"))
        )

        def __init__(self, clock: Clock) -> None:
            self.summary = LogSummary(self.log, "{count} of {name}", clock)

    clock = Clock()
    owner = Owner(clock)
    owner.summary.note(name="show")
    kept = ref(owner)
    gc.disable()
    try:
        del owner
        assert kept() is None
    finally:
        gc.enable()
    clock.advance(10)
    assert lines == [f"{__name__}.Owner: 1 of show"]
