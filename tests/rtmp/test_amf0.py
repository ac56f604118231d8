"""AMF0: one table for both directions, and nothing that a stranger sends does more than fail cleanly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.rtmp.amf0 import EcmaArray, decode, encode
from livestream.rtmp.errors import RemoteProtocolError

TABLE = [
    (1.5, "003ff8000000000000"),
    (True, "0101"),
    (False, "0100"),
    ("live", "0200046c697665"),
    (None, "05"),
    ({"a": 1.0}, "03000161003ff0000000000000000009"),
    ([None, True], "0a00000002050101"),
]


@pytest.mark.parametrize(("value", "text"), TABLE, ids=str)
def test_a_value_is_written_and_read_the_same_way(value: object, text: str) -> None:
    assert encode(value).hex() == text
    assert decode(bytes.fromhex(text)) == [value]


def test_an_ecma_array_is_read_as_a_mapping_whatever_count_it_announces() -> None:
    data = encode(EcmaArray(width=2.0))
    assert decode(data) == [{"width": 2.0}]
    assert decode(data[:1] + b"\xff\xff\xff\xff" + data[5:]) == [{"width": 2.0}]


def test_a_long_string_has_a_length_of_four_bytes() -> None:
    text = "x" * 70_000
    assert encode(text)[:5] == b"\x0c\x00\x01\x11\x70"


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\xff\xff\xff\xff",
        b"\x02\xff\xff" + b"abc",
        b"\x0c\xff\xff\xff\xff",
        b"\x03\x00\x01a" * 10_000,
        b"\x0a\x00\x00\x00\x01" * 10_000,
        b"\x05" * 2_000,
        b"\x07\x00\x00",
        b"\x11\x04",
    ],
    ids=["array count", "string", "long string", "deep objects", "deep arrays", "many", "reference", "AMF3"],
)
def test_what_passes_a_limit_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(data)


def test_every_prefix_of_a_command_is_read_or_refused() -> None:
    command = encode("connect", 1, {"app": "live", "tcUrl": "rtmp://x/live", "capabilities": 15.0})
    for length in range(len(command)):
        try:
            decode(command[:length])
        except RemoteProtocolError:
            continue


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except RemoteProtocolError:
        return
