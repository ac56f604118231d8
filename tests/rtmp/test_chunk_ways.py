"""Ordinary chunks are read by a short way, many small ones at a time: that gives what one chunk at a time gives."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.rtmp.chunks import ALL_STEPS, IN_FLIGHT_BYTES, RUN_CHUNKS, ChunkLimits, ChunkReader, Message, split
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.interleave import join_tick
from livestream.rtmp.messages import set_chunk_size
from tests.rtmp.reading import read_all

EXTENDED = 0xFFFFFF
PICTURE_CSID = 6
FOLLOWING = 0xC0 | PICTURE_CSID


def reader_of(chunk_bytes: int, limits: ChunkLimits | None = None) -> ChunkReader:
    reader = ChunkReader(limits or ChunkLimits())
    reader.chunk_bytes = chunk_bytes
    return reader


@define
class PlainReader:
    """Reads a whole, valid chunk stream one chunk after the other, with extended timestamps always repeated."""

    chunk_bytes: int
    headers: dict[int, list[Any]] = field(factory=dict)
    unfinished: dict[int, bytes] = field(factory=dict)

    def read(self, data: bytes) -> list[Message]:
        messages = []
        while data:
            kind, csid = data[0] >> 6, data[0] & 63
            fields, data = self._fields(kind, csid, data[1:])
            _, _, length, type_id, stream_id, time = fields
            body = self.unfinished.pop(csid, b"")
            take = min(self.chunk_bytes, length - len(body))
            body, data = body + data[:take], data[take:]
            if len(body) < length:
                self.unfinished[csid] = body
            elif type_id == 1:
                self.chunk_bytes = int.from_bytes(body, "big")
            else:
                messages.append(Message(type_id, stream_id, time, body))
        return messages

    def _fields(self, kind: int, csid: int, data: bytes) -> tuple[list[Any], bytes]:
        """The stream's delta, whether it is extended, length, type, stream id and time; and what follows the header."""
        size = (11, 7, 3, 0)[kind]
        head, data = data[:size], data[size:]
        fields = self.headers.setdefault(csid, [0, False, 0, 0, 0, 0])
        if kind < 3:
            fields[0] = int.from_bytes(head[:3], "big")
            fields[1] = fields[0] == EXTENDED
        if kind < 2:
            fields[2:4] = [int.from_bytes(head[3:6], "big"), head[6]]
        if kind == 0:
            fields[4:6] = [int.from_bytes(head[7:11], "little"), 0]
        if fields[1]:
            fields[0], data = int.from_bytes(data[:4], "big"), data[4:]
        if csid not in self.unfinished:
            fields[5] = (fields[5] + fields[0]) & 0xFFFFFFFF
        return fields, data


@define
class Writer:
    """Cuts messages into chunks, each with the shortest header that it may have, or a longer one if that is wanted."""

    chunk_bytes: int
    last: dict[int, tuple[int, int, int, int]] = field(factory=dict)

    def chunks(self, csid: int, type_id: int, time: int, body: bytes, kind: int) -> list[bytes]:
        """``time`` is the timestamp with a header of type 0, and with the others a delta."""
        time, length = time & 0xFFFFFFFF, len(body)
        last = self.last.get(csid)
        if last is None:
            kind = 0
        elif kind == 3 and last[1:] != (time, length, type_id):
            kind = 2
        if kind == 2 and last is not None and last[2:] != (length, type_id):
            kind = 1
        self.last[csid] = (csid, time, length, type_id)
        extended = time.to_bytes(4, "big") if time >= EXTENDED else b""
        fields = min(time, EXTENDED).to_bytes(3, "big") + length.to_bytes(3, "big") + bytes([type_id, csid, 0, 1, 2])
        head = bytes([kind << 6 | csid]) + fields[: (11, 7, 3, 0)[kind]] + extended
        cut = [body[at : at + self.chunk_bytes] for at in range(0, length, self.chunk_bytes)] or [b""]
        return [head + cut[0], *(bytes([0xC0 | csid]) + extended + part for part in cut[1:])]


CSIDS = (4, 6)
ITEMS = st.lists(
    st.tuples(
        st.sampled_from(CSIDS),
        st.sampled_from([9, 9, 9, 9, 8, 18]),
        st.sampled_from([40, 40, 40, 40, 23, EXTENDED, 0xFFFFFFFF]),
        st.sampled_from([300, 300, 300, 300, 0, 1, 7, 128, 129, 1100]),
        st.sampled_from([FOLLOWING, 0xC4, 0]),
        st.sampled_from([3, 3, 2, 1, 0]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=200)
@given(
    items=ITEMS,
    chunk_bytes=st.sampled_from([2, 128, 128, 4096]),
    order=st.lists(st.tuples(st.sampled_from(CSIDS), st.integers(1, 4)), max_size=10),
    cuts=st.lists(st.integers(1, 3000), max_size=4),
    steps=st.sampled_from([1, 17, 40, ALL_STEPS]),
)
def test_messages_in_any_chunks_and_pieces_are_those_that_a_plain_reader_reads(
    items: list[tuple[int, int, int, int, int, int]],
    chunk_bytes: int,
    order: list[tuple[int, int]],
    cuts: list[int],
    steps: int,
) -> None:
    writer = Writer(chunk_bytes)
    waiting = {csid: writer.chunks(csid, 9, 40, bytes(300), 0) for csid in CSIDS}
    for csid, type_id, time, length, filling, kind in items:
        waiting[csid] += writer.chunks(csid, type_id, time, bytes([filling]) * length, kind)
    data = b""
    for csid, count in [*order, (4, 999_999), (6, 999_999)]:
        data += b"".join(waiting[csid][:count])
        del waiting[csid][:count]
    reader, got, at = reader_of(chunk_bytes), [], 0
    for cut in [*cuts, len(data)]:
        got += read_all(reader, data[at : at + cut], steps)
        at += cut
    assert got == [message for message in PlainReader(chunk_bytes).read(data) if message.body]
    assert len(got) == 2 + sum(length > 0 for _, _, _, length, _, _ in items)
    assert reader._in_flight == 0


def test_a_picture_in_many_small_chunks_is_read_in_as_many_steps_as_it_may_take() -> None:
    message = Message(9, 1, 40, bytes(number % 251 for number in range(20 * RUN_CHUNKS)))
    reader = reader_of(1)
    answers = [reader.receive(b"".join(split(message, PICTURE_CSID, 1)), 5)]
    while reader.has_more:
        answers.append(reader.receive(b"", 5))
    assert answers == [[]] * (len(answers) - 1) + [[message]] and len(answers) >= 4


@pytest.mark.parametrize("chunks", [1, 2, 3, RUN_CHUNKS, RUN_CHUNKS + 1, RUN_CHUNKS + 2, 3 * RUN_CHUNKS])
@pytest.mark.parametrize("more_bytes", [0, 1, 127])
@pytest.mark.parametrize("first_bytes", [0, 1, 100, 5000])
def test_a_picture_of_any_number_of_chunks_is_whole(chunks: int, more_bytes: int, first_bytes: int) -> None:
    message = Message(9, 1, 40, bytes(number % 251 for number in range(chunks * 128 + more_bytes)))
    data = b"".join(split(message, PICTURE_CSID, 128))
    reader = reader_of(128)
    (got,) = [*reader.receive(data[:first_bytes]), *reader.receive(data[first_bytes:])]
    assert got == message
    assert type(got.body) is bytes


@settings(deadline=None, max_examples=40)
@given(
    chunk_bytes=st.sampled_from([1, 2, 7, 64, 128]),
    sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=4),
    start_ms=st.sampled_from([0, EXTENDED]),
    step=st.integers(1, 3000),
)
def test_pictures_that_look_like_headers_and_sounds_between_are_told_apart(
    chunk_bytes: int, sizes: list[int], start_ms: int, step: int
) -> None:
    pictures = [Message(9, 1, start_ms, bytes([FOLLOWING]) * size) for size in sizes]
    sounds = [Message(8, 1, start_ms, bytes([FOLLOWING, 0xC4]) * 70)] * 2
    data = join_tick([*sounds, *pictures], chunk_bytes)
    reader = reader_of(chunk_bytes)
    got = [message for at in range(0, len(data), step) for message in reader.receive(data[at : at + step])]
    assert [message for message in got if message.type_id == 9] == pictures
    assert [message for message in got if message.type_id == 8] == sounds


def test_a_picture_on_a_stream_with_a_long_id_is_whole() -> None:
    message = Message(9, 1, 40, b"picture" * 300)
    first, *rest = split(message, 2, 128)
    data = b"\x00\x0a" + first[1:] + b"".join(b"\xc0\x0a" + chunk[1:] for chunk in rest)
    assert reader_of(128).receive(data) == [message]


def test_a_run_ends_where_the_size_of_chunks_changes() -> None:
    body = bytes(range(256)) * 4
    chunks = split(Message(9, 1, 40, body), PICTURE_CSID, 128)
    data = b"".join(chunks[:4]) + b"".join(split(set_chunk_size(200), 2, 128))
    data += b"".join(bytes([FOLLOWING]) + body[at : at + 200] for at in range(512, 1024, 200))
    (message,) = reader_of(128).receive(data)
    assert message.body == body


def test_a_picture_cut_off_by_another_stream_and_then_aborted_leaves_nothing() -> None:
    chunks = split(Message(9, 1, 40, bytes(128 * 9)), PICTURE_CSID, 128)
    sound, after = Message(8, 1, 40, b"sound"), Message(9, 1, 80, b"after")
    abort = Message(2, 0, 0, PICTURE_CSID.to_bytes(4, "big"))
    data = b"".join([*chunks[:6], *split(sound, 4, 128), *split(abort, 2, 128), *split(after, PICTURE_CSID, 128)])
    reader = reader_of(128)
    assert reader.receive(data) == [sound, after]
    assert reader._in_flight == 0


def test_a_whole_picture_in_sight_may_be_no_longer_than_any_other() -> None:
    reader = reader_of(4096, ChunkLimits(message_bytes=1000))
    first, longest, longer = (Message(9, 1, 40, bytes(size)) for size in (1, 1000, 1001))
    data = b"".join(b"".join(split(message, PICTURE_CSID, 4096)) for message in (first, longest))
    assert reader.receive(data) == [first, longest]
    with pytest.raises(RemoteProtocolError, match="1001 bytes"):
        reader.receive(b"".join(split(longer, PICTURE_CSID, 4096)))


def test_what_is_unfinished_on_all_streams_together_has_a_bound() -> None:
    reader = reader_of(1000, ChunkLimits(message_bytes=100_000))
    messages = [split(Message(9, 1, 40, bytes(90_000)), csid, 1000) for csid in range(3, 33)]
    held = 0
    with pytest.raises(RemoteProtocolError, match="unfinished"):
        for row in list(zip(*messages, strict=True))[:-1]:
            for chunk in row:
                reader.receive(chunk)
                held += 1000
    assert 1_000_000 < held <= 100_000 + IN_FLIGHT_BYTES


def test_a_picture_that_another_stream_interrupts_in_sight_is_whole() -> None:
    picture, sound = Message(9, 1, 40, bytes(range(250)) * 4), Message(8, 1, 40, b"sound")
    chunks, between = split(picture, PICTURE_CSID, 128), split(sound, 4, 128)
    reader = reader_of(128)
    reader.receive(b"".join([*chunks, *between]))
    data = b"".join([*chunks[:3], *between, *chunks[3:], *chunks, *chunks])
    assert reader.receive(data) == [sound, picture, picture, picture]


@pytest.mark.parametrize("type_id", [4, 18, 20])
def test_only_media_in_sight_may_be_long(type_id: int) -> None:
    reader = reader_of(4096, ChunkLimits(command_bytes=1000))
    reader.receive(b"".join(split(Message(type_id, 1, 40, b"first"), PICTURE_CSID, 4096)))
    with pytest.raises(RemoteProtocolError, match="1001 bytes"):
        reader.receive(b"".join(split(Message(type_id, 1, 40, bytes(1001)), PICTURE_CSID, 4096)))


def test_a_chunk_size_on_a_stream_that_media_came_on_is_obeyed_in_the_same_read() -> None:
    picture = Message(9, 1, 40, bytes(1000))
    reader = reader_of(128)
    data = b"".join(split(picture, PICTURE_CSID, 128)) * 2
    data += b"".join(split(set_chunk_size(4096), PICTURE_CSID, 128)) + split(picture, PICTURE_CSID, 4096)[0]
    assert reader.receive(data) == [picture] * 3


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_an_extended_delta_is_repeated_where_whole_messages_are_in_sight(kind: int) -> None:
    writer = Writer(4096)
    data = b"".join(
        chunk for each in (0, kind, 3, 3) for chunk in writer.chunks(PICTURE_CSID, 9, EXTENDED + 5, bytes(300), each)
    )
    got = reader_of(4096).receive(data)
    assert [message.timestamp_ms for message in got] == [(EXTENDED + 5) * times for times in (1, 2, 3, 4)]
    assert [message.body for message in got] == [bytes(300)] * 4
