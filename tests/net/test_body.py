import gc
import os
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.net.body import FILE_BYTES, Body, BodyState
from tests.logged_failures import LoggedFailures


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=6000), max_size=6), st.booleans(), st.integers(0, 20000), st.integers(0, 20000))
def test_what_was_appended_is_what_is_read(pieces: list[bytes], knows_size: bool, start: int, stop: int) -> None:
    data = b"".join(pieces)
    body = Body.growing(len(data) if knows_size else None)
    for piece in pieces:
        body.append(piece)
    assert body.read(start, stop) == data[start:stop]
    body.finish()
    assert (body.size, body.received, body.state) == (len(data), len(data), BodyState.WHOLE)


def test_a_large_body_is_a_file_and_a_small_one_is_not() -> None:
    assert Body.whole(b"x" * (FILE_BYTES - 1)).fd is None
    large = Body.whole(b"x" * FILE_BYTES)
    assert large.fd is not None
    assert os.fstat(large.fd).st_size == FILE_BYTES


def test_the_file_is_closed_with_the_last_reference() -> None:
    body = Body.whole(b"x" * FILE_BYTES)
    fd = body.fd
    assert fd is not None
    del body
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_who_watches_hears_of_every_change_until_the_end() -> None:
    body = Body.growing(4)
    seen: list[tuple[int, BodyState]] = []
    body.watch(lambda: seen.append((body.received, body.state)))
    unwatch = body.watch(lambda: seen.append((-1, body.state)))
    body.append(b"ab")
    unwatch()
    body.append(b"cd")
    body.finish()
    body.finish()
    arriving = BodyState.ARRIVING
    assert seen == [(2, arriving), (-1, arriving), (4, arriving), (4, BodyState.WHOLE)]


def test_one_who_stops_watching_meanwhile_is_not_told() -> None:
    body = Body.growing(4)
    told: list[str] = []

    def first() -> None:
        told.append("first")
        second()

    body.watch(first)
    second = body.watch(lambda: told.append("second"))
    body.append(b"ab")
    assert told == ["first"]


def test_a_reader_that_fails_harms_no_other_and_not_the_body(logged_failures: LoggedFailures) -> None:
    body = Body.growing(4)
    told: list[int] = []

    def fails() -> None:
        raise ZeroDivisionError

    body.watch(fails)
    body.watch(lambda: told.append(body.received))
    body.append(b"ab")
    body.append(b"cd")
    assert (told, body.received) == ([2, 4], 4)
    assert len(logged_failures.take(ZeroDivisionError)) == 2


def test_without_a_descriptor_to_spare_a_body_is_held_in_memory_of_the_process() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        body = Body.whole(b"x" * FILE_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert body.fd is None
    assert body.read(0, FILE_BYTES) == b"x" * FILE_BYTES


def test_memory_files_leave_a_quarter_of_the_descriptors_to_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = []
    limit = 4 * (60 + max(map(int, os.listdir("/proc/self/fd"))))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        bodies = [Body.whole(b"x" * FILE_BYTES) for _ in range(limit)]
        connections = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for connection in connections:
            os.close(connection)
    assert bodies[0].fd is not None
    assert bodies[-1].fd is None
    assert {body.read(0, 1) for body in bodies} == {b"x"}


def test_a_body_is_never_longer_nor_shorter_than_it_said() -> None:
    body = Body.growing(4)
    body.append(b"abc")
    with pytest.raises(ValueError, match="too many"):
        body.append(b"de")
    with pytest.raises(ValueError, match="3 of 4"):
        body.finish()
    body.fail()
    assert body.failed
    with pytest.raises(ValueError, match="FAILED"):
        body.append(b"d")
