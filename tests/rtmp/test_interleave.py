"""A tick for everybody: no sound behind more than one chunk of a picture, and the order of a track kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.rtmp.chunks import ChunkReader, Message
from livestream.rtmp.interleave import join_tick
from livestream.rtmp.message_types import VIDEO

CHUNK_BYTES = 100


def picture(time_ms: int, size: int) -> Message:
    return Message(VIDEO, 1, time_ms, b"p" * size)


def sound(time_ms: int) -> Message:
    return Message(8, 1, time_ms, b"S" * 20)


def read(data: bytes, reader: ChunkReader | None = None) -> list[Message]:
    reader = ChunkReader() if reader is None else reader
    reader.chunk_bytes = CHUNK_BYTES
    return reader.receive(data)


def test_no_tick_is_no_bytes() -> None:
    assert join_tick([], CHUNK_BYTES) == b""


@pytest.mark.parametrize(
    "messages", [[sound(0), sound(21)], [picture(0, 450), picture(40, 20)]], ids=["sound", "picture"]
)
def test_one_track_alone_keeps_its_order(messages: list[Message]) -> None:
    assert read(join_tick(messages, CHUNK_BYTES)) == messages


def test_each_chunk_of_a_large_picture_lets_one_sound_pass() -> None:
    data = join_tick([picture(0, 1000), *(sound(21 * n) for n in range(4))], CHUNK_BYTES)
    between = data.split(b"S" * 20)
    assert [part.count(b"p") for part in between] == [CHUNK_BYTES] * 4 + [1000 - 4 * CHUNK_BYTES]


def test_more_sounds_than_chunks_are_all_there() -> None:
    messages = [picture(0, 10), *(sound(21 * n) for n in range(5))]
    assert len(read(join_tick(messages, CHUNK_BYTES))) == 6


def test_a_viewer_who_comes_later_reads_the_same() -> None:
    first, second = [picture(0, 300), sound(0)], [sound(21), picture(40, 300)]
    late = read(join_tick(second, CHUNK_BYTES))
    reader = ChunkReader()
    read(join_tick(first, CHUNK_BYTES), reader)
    assert read(join_tick(second, CHUNK_BYTES), reader) == late


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.none(), st.integers(1, 500)), max_size=20), st.sampled_from([0, 0xFFFFFF, 0xFFFFFFF0]))
def test_every_message_is_there_and_in_the_order_of_its_track(sizes: list[int | None], start_ms: int) -> None:
    messages = [
        sound(start_ms + n) if size is None else picture((start_ms + n) & 0xFFFFFFFF, size)
        for n, size in enumerate(sizes)
        if start_ms + n <= 0xFFFFFFFF
    ]
    got = read(join_tick(messages, CHUNK_BYTES))
    for type_id in (8, VIDEO):
        assert [m for m in got if m.type_id == type_id] == [m for m in messages if m.type_id == type_id]
    assert len(got) == len(messages)
