"""The chunk stream: every way to cut it gives the same messages, and what breaks its rules is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.rtmp.chunks import ChunkLimits, ChunkReader, Message, split
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.interleave import join_tick
from livestream.rtmp.messages import set_chunk_size

VIDEO = Message(9, 1, 40, bytes(range(256)) * 2)
AUDIO = Message(8, 1, 20, b"sound" * 30)


def reader_of(chunk_bytes: int) -> ChunkReader:
    reader = ChunkReader()
    reader.chunk_bytes = chunk_bytes
    return reader


@pytest.mark.parametrize("chunk_bytes", [1, 128, 4096])
@pytest.mark.parametrize("time_ms", [0, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
def test_what_is_split_is_put_together_again(chunk_bytes: int, time_ms: int) -> None:
    message = Message(9, 1, time_ms, b"picture" * 50)
    data = b"".join(split(message, 6, chunk_bytes))
    assert reader_of(chunk_bytes).receive(data) == [message]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 700), max_size=12))
def test_however_the_bytes_come_the_messages_are_the_same(cuts: list[int]) -> None:
    data = join_tick([AUDIO, VIDEO], 64) + b"".join(split(AUDIO, 4, 64))
    reader, got, at = reader_of(64), [], 0
    for cut in [*cuts, len(data)]:
        got += reader.receive(data[at : at + cut])
        at += cut
    assert sorted(got, key=lambda m: m.type_id) == [AUDIO, AUDIO, VIDEO]


def test_a_byte_at_a_time_gives_the_same() -> None:
    reader = reader_of(64)
    got = [m for byte in join_tick([AUDIO, VIDEO], 64) for m in reader.receive(bytes([byte]))]
    assert sorted(got, key=lambda m: m.type_id) == [AUDIO, VIDEO]


def test_audio_never_waits_behind_more_than_one_chunk_of_a_picture() -> None:
    data = join_tick([VIDEO, AUDIO], 256)
    assert data.index(b"sound") < 256 + 12 + 12 + 1


@pytest.mark.parametrize("csid", ["c2", "c000", "c13b00"])
def test_a_stream_id_may_have_one_two_or_three_bytes(csid: str) -> None:
    head = bytes.fromhex(csid)
    data = bytes([head[0] & 0x3F]) + head[1:] + bytes.fromhex("00000a000003080100000061626301")[:14]
    assert [m.body for m in ChunkReader().receive(data)] == [b"abc"]


def test_a_fresh_stream_may_begin_with_a_type_1_header() -> None:
    ping = bytes.fromhex("42000000000006040006 00000001".replace(" ", ""))
    assert [m.type_id for m in ChunkReader().receive(ping)] == [4]


def test_deltas_add_up_and_a_type_3_header_repeats_the_last() -> None:
    first = bytes.fromhex("04000064000001080100000061")
    later = bytes.fromhex("4400001400000108 62 c4 63".replace(" ", ""))
    assert [m.timestamp_ms for m in ChunkReader().receive(first + later)] == [100, 120, 140]


@pytest.mark.parametrize("repeats", [True, False])
def test_an_extended_timestamp_may_be_repeated_in_later_chunks_or_not(repeats: bool) -> None:
    chunks = split(Message(9, 1, 0x1234567, b"x" * 300), 6, 128)
    if not repeats:
        chunks[1:] = [chunk[:1] + chunk[5:] for chunk in chunks[1:]]
    (message,) = ChunkReader().receive(b"".join(chunks))
    assert (message.timestamp_ms, len(message.body)) == (0x1234567, 300)


def test_a_chunk_size_takes_effect_between_the_chunks_of_another_message() -> None:
    chunks = split(VIDEO, 6, 128)
    rest = VIDEO.body[128:]
    data = chunks[0] + b"".join(split(set_chunk_size(1000), 2, 128)) + b"\xc6" + rest
    assert ChunkReader().receive(data) == [VIDEO]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("84000000", "begins with type 2"),
        ("c4", "begins with type 3"),
        ("020000000000040100000000" + "00000000", "chunk size 0"),
        ("020000000000040100000000" + "80000000", "chunk size with the top bit"),
        ("0400000a00ffff1401000000" + "00", "a command of 64 KiB and more"),
        ("0600000affffff0901000000" + "00", "a picture of 16 MiB"),
    ],
)
def test_what_breaks_the_rules_is_refused(data: str, why: str) -> None:
    limits = ChunkLimits(command_bytes=60_000)
    with pytest.raises(RemoteProtocolError):
        ChunkReader(limits).receive(bytes.fromhex(data))


def test_a_new_message_inside_an_unfinished_one_is_refused() -> None:
    reader = ChunkReader()
    reader.receive(split(VIDEO, 6, 128)[0])
    with pytest.raises(RemoteProtocolError):
        reader.receive(split(VIDEO, 6, 128)[0])


def test_no_more_than_64_chunk_streams_are_kept() -> None:
    reader = ChunkReader()
    with pytest.raises(RemoteProtocolError):
        for number in range(70):
            reader.receive(bytes([0, number]) + bytes.fromhex("0000000000010801000000") + b"x")


def test_memory_grows_with_the_bytes_received_and_not_with_the_length_announced() -> None:
    reader = ChunkReader()
    reader.receive(bytes.fromhex("0600000a7fffff0901000000") + b"x")
    assert reader._in_flight == 1


def test_an_aborted_message_is_forgotten() -> None:
    reader = ChunkReader()
    reader.receive(split(VIDEO, 6, 128)[0])
    reader.receive(b"".join(split(Message(2, 0, 0, b"\x00\x00\x00\x06"), 2, 128)))
    assert reader.receive(b"".join(split(AUDIO, 6, 128))) == [AUDIO]


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        ChunkReader().receive(data)
    except RemoteProtocolError:
        return
