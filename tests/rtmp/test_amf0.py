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


@pytest.mark.parametrize(
    "value", [1.5, True, "live", "x" * 70_000, [1.0, "a", None], [[1.0], ["b"]]], ids=lambda value: str(value)[:20]
)
def test_a_value_that_is_cut_short_is_refused(value: object) -> None:
    data = encode(value)
    for length in range(1, min(len(data), 60)):
        with pytest.raises(RemoteProtocolError):
            decode(data[:length])


def test_an_object_whose_end_is_left_out_is_an_object() -> None:
    assert decode(encode({"a": 1.0})[:-3]) == [{"a": 1.0}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0b3ff8000000000000003c", 1.5),
        ("06", None),
        ("0d", None),
        ("0f000000033c612f", "<a/"),
        ("1000014f00016105000009", {"a": None}),
        ("0200028080", "\ufffd\ufffd"),
    ],
    ids=["date", "undefined", "unsupported", "XML", "typed object", "no UTF-8"],
)
def test_what_only_others_write_is_read(text: str, value: object) -> None:
    assert decode(bytes.fromhex(text)) == [value]


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_value_comes_back_as_it_was(value: object) -> None:
    assert decode(encode(value, None)) == [value, None]


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except RemoteProtocolError:
        return
