import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.http.conditions import Conditions, Outcome, Selection, accepts_gzip, select

TAG = b'"abc"'
WHOLE = Selection(Outcome.WHOLE, 0, 100)


def selected(**fields: bytes) -> Selection:
    return select(Conditions.of({name.replace("_", "-").encode(): value for name, value in fields.items()}), TAG, 100)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        (b"bytes=0-0", 0, 1),
        (b"bytes=10-19", 10, 20),
        (b"bytes=90-", 90, 100),
        (b"bytes=90-1000", 90, 100),
        (b"bytes=-10", 90, 100),
        (b"bytes=-1000", 0, 100),
        (b"BYTES=1-2", 1, 3),
        (b"bytes=0-9999999999999999999", 0, 100),
    ],
)
def test_one_range_is_a_part(asked: bytes, start: int, stop: int) -> None:
    assert selected(range=asked) == Selection(Outcome.PART, start, stop)


@pytest.mark.parametrize("asked", [b"bytes=100-", b"bytes=100-200", b"bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_satisfied(asked: bytes) -> None:
    assert selected(range=asked).outcome is Outcome.UNSATISFIABLE


@pytest.mark.parametrize(
    "asked",
    [
        b"bytes=5-2",
        b"bytes=0-1,3-4",
        b"bytes=0-1, 3-4",
        b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(1000)),
        b"bytes=-",
        b"bytes=",
        b"bytes=1",
        b"bytes=a-b",
        b"bytes=+1-2",
        b"bytes=0- 1",
        b"bytes=0-1180591620717411303424",
        b"lines=0-1",
    ],
    ids=lambda asked: asked[:20],
)
def test_any_other_range_is_ignored(asked: bytes) -> None:
    assert selected(range=asked) == WHOLE


def test_if_range_wants_the_very_same_bytes() -> None:
    assert selected(range=b"bytes=0-0", if_range=TAG).outcome is Outcome.PART
    for other in (b'"other"', b"W/" + TAG, b"Sat, 28 Nov 2026 05:54:51 GMT"):
        assert selected(range=b"bytes=0-0", if_range=other) == WHOLE


@pytest.mark.parametrize("condition", [TAG, b"W/" + TAG, b'"x", ' + TAG, b'W/"x",W/' + TAG, b"*"])
def test_who_has_the_bytes_is_not_sent_them(condition: bytes) -> None:
    assert selected(if_none_match=condition).outcome is Outcome.UNCHANGED
    assert selected(if_none_match=condition, range=b"bytes=0-0").outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("condition", [b'"x"', b"abc", b'"abcd"', b'"', b""])
def test_who_has_other_bytes_is_sent_these(condition: bytes) -> None:
    assert selected(if_none_match=condition) == WHOLE


@pytest.mark.parametrize(
    ("accepted", "does"),
    [
        (b"gzip", True),
        (b"gzip, deflate, br, zstd", True),
        (b"br;q=1.0, gzip;q=0.5", True),
        (b"GZIP", True),
        (b"*", True),
        (b"x-gzip", True),
        (b"", False),
        (b"identity", False),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"*;q=0", False),
        (b"*, gzip;q=0", False),
        (b"gzip;q=..", False),
        (b"gzipped", False),
    ],
)
def test_gzip_is_sent_to_who_accepts_it(accepted: bytes, does: bool) -> None:
    assert accepts_gzip(accepted) is does


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 2**40))
def test_a_selection_is_within_the_bytes(asked: bytes, condition: bytes, size: int) -> None:
    for prefix in (b"", b"bytes="):
        chosen = select(Conditions(condition, b"", prefix + asked), TAG, size)
        assert 0 <= chosen.start <= chosen.stop <= size
        assert chosen.outcome is not Outcome.PART or chosen.start < chosen.stop
