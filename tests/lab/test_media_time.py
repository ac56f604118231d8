"""The begin of a segment is read from its boxes in both of their versions."""

from __future__ import annotations

import pytest

from tests.lab.media_time import begin_of, timescale_of

TIMESCALE, BEGIN = 90_000, 1_800_000


def box(kind: bytes, version: int, fields: bytes) -> bytes:
    return (12 + len(fields)).to_bytes(4, "big") + kind + bytes([version, 0, 0, 0]) + fields


@pytest.mark.parametrize(("version", "size"), [(0, 4), (1, 8)])
def test_begin_in_seconds(version: int, size: int) -> None:
    init = b"before" + box(b"mdhd", version, bytes(2 * size) + TIMESCALE.to_bytes(4, "big") + bytes(size + 4))
    segment = b"before" + box(b"tfdt", version, BEGIN.to_bytes(size, "big"))
    assert begin_of(segment, timescale_of(init)) == 20


def test_bytes_without_boxes_have_no_begin() -> None:
    assert timescale_of(b"nothing") == 0
    assert begin_of(b"nothing", 1000) is None
    assert begin_of(box(b"tfdt", 0, bytes(4)), 0) is None
