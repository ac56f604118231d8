"""What a preflight is answered with: the names that players send, and any other that can be one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.http.preflight import ALWAYS, NAMES, allowed_headers


def more(requested: bytes) -> list[bytes]:
    """What is allowed beside the names that always are."""
    names = allowed_headers(requested).split(b", ")
    assert tuple(names[: len(ALWAYS)]) == ALWAYS
    return names[len(ALWAYS) :]


def test_what_players_send_is_listed_whatever_is_asked_for() -> None:
    listed = {name.lower() for name in allowed_headers(b"").split(b", ")}
    assert {b"authorization", b"range", b"cmcd-object", b"cmcd-request", b"cmcd-session", b"cmcd-status"} <= listed


@pytest.mark.parametrize(
    ("requested", "listed"),
    [
        (b"x-a,x-b", [b"x-a", b"x-b"]),
        (b" X-A ,\tx-b", [b"x-a", b"x-b"]),
        (b"x-a,X-A,range,CMCD-Session", [b"x-a"]),
        (b"x-a, x b, x:c, ,\xe4, x\x00, x-d", [b"x-a", b"x-d"]),
        (b"x" * 64 + b"," + b"y" * 65, [b"x" * 64]),
    ],
)
def test_names_are_listed_once_and_what_is_none_is_left_out(requested: bytes, listed: list[bytes]) -> None:
    assert more(requested) == listed


def test_of_very_many_names_only_the_first_are_looked_at() -> None:
    assert more(b",".join(b"x-%d" % number for number in range(5000))) == [b"x-%d" % number for number in range(NAMES)]


@given(st.binary(max_size=300))
def test_nothing_but_names_is_ever_listed(requested: bytes) -> None:
    assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(, [!#$%&'*+.^_`|~0-9A-Za-z-]+)*", allowed_headers(requested))
