"""Time stamps are read out of a push, however its bytes are split."""

from __future__ import annotations

import pytest

from tests.lab.flv import FlvReader, Progress

HEADER = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"


def tag(kind: int, timestamp_ms: int, data: bytes) -> bytes:
    low, high = (timestamp_ms & 0xFFFFFF).to_bytes(3, "big"), bytes([timestamp_ms >> 24])
    body = bytes([kind]) + len(data).to_bytes(3, "big") + low + high + bytes(3) + data
    return body + len(body).to_bytes(4, "big")


STREAM = HEADER + tag(18, 0, b"metadata") + tag(9, 40, b"video") + tag(8, 0x1000001, b"audio")


@pytest.mark.parametrize("size", [1, 7, 20, len(STREAM)])
def test_time_stamps_of_audio_and_video_are_read(size: int) -> None:
    reader = FlvReader()
    read = [reader.receive(STREAM[start : start + size]) for start in range(0, len(STREAM), size)]
    assert [timestamp for timestamp in read if timestamp is not None][-1] == 0x1000001


def test_what_an_edge_had_kept_is_not_new() -> None:
    progress = Progress()
    told = [(50_000, 7.0), (50_900, 7.05), (50_900, 7.2), (50_940, 7.3), (50_000, 7.4)]
    assert [progress.is_new(*each) for each in told] == [False, False, False, True, False]
