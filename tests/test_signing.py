"""What nodes sign: who made it, and until when it holds."""

from __future__ import annotations

import pytest

from livestream.signing import (
    CLOCKS_APART_S,
    HEADER,
    LEARNT_APART_S,
    SAME_S,
    VALID_S,
    Credentials,
    WrongSignature,
    seal,
    sign,
    unseal,
    verify,
)

SECRET, NOW = "the secret of these tests", 1_800_000_000.0


def test_a_signature_says_who_asks_and_stays_the_same_for_a_while() -> None:
    signature = sign("edge-1.eu", SECRET, NOW)
    assert verify(signature, SECRET, NOW) == "edge-1.eu"
    assert sign("edge-1.eu", SECRET, NOW + SAME_S - 1) == signature != sign("edge-1.eu", SECRET, NOW + SAME_S)


@pytest.mark.parametrize("apart_s", [-CLOCKS_APART_S, -1, 1, CLOCKS_APART_S])
def test_clocks_may_be_minutes_apart(apart_s: float) -> None:
    assert verify(sign("a", SECRET, NOW + apart_s), SECRET, NOW) == "a"


@pytest.mark.parametrize("later_s", [-CLOCKS_APART_S - VALID_S, CLOCKS_APART_S + VALID_S + 1])
def test_a_signature_does_not_hold_for_ever(later_s: float) -> None:
    with pytest.raises(WrongSignature, match="clocks"):
        verify(sign("a", SECRET, NOW), SECRET, NOW + later_s)


@pytest.mark.parametrize("apart_s", [-3000, -CLOCKS_APART_S, 0, CLOCKS_APART_S, 3000])
def test_a_signature_expires_by_the_clock_of_who_made_it_where_that_is_known(apart_s: float) -> None:
    signature = sign("a", SECRET, NOW + apart_s)
    for later_s in (0, VALID_S, -LEARNT_APART_S):
        assert verify(signature, SECRET, NOW + later_s, lambda _: NOW + apart_s + later_s) == "a"  # noqa: B023
    for later_s in (VALID_S + LEARNT_APART_S + 1, -LEARNT_APART_S - 1):
        with pytest.raises(WrongSignature, match="clocks"):
            verify(signature, SECRET, NOW + later_s, lambda _: NOW + apart_s + later_s)  # noqa: B023


def test_the_clock_that_counts_is_that_of_the_node_that_signed() -> None:
    clocks = {"a": NOW + 290, "b": NOW}
    for node in ("a", "c"):
        assert verify(sign(node, SECRET, NOW + 290), SECRET, NOW, clocks.get) == node
    with pytest.raises(WrongSignature, match="b signed it"):
        verify(sign("b", SECRET, NOW + 290), SECRET, NOW, clocks.get)


def test_nothing_else_is_a_signature() -> None:
    signature = sign("a", SECRET, NOW)
    node, expires, digest = signature.split(".")
    others = [sign("a", SECRET + "x", NOW), f"b.{expires}.{digest}", f"{node}.{int(expires) + 30}.{digest}"]
    others += ["", "a", f"{signature}\n", signature.upper(), f"a.{'9' * 5000}.{digest}", "\u0661." * 3]
    for other in others:
        with pytest.raises(WrongSignature, match=r"cluster\.secret"):
            verify(other, SECRET, NOW)


def test_a_node_signs_each_request_of_half_a_minute_alike() -> None:
    now = NOW
    mine, theirs = Credentials("a", SECRET, lambda: now), Credentials("b", SECRET, lambda: now)
    first = dict(mine.headers())
    now = NOW + SAME_S - 1
    assert mine.headers() == first and theirs.signer(first[HEADER][0]) == "a"
    now = NOW + SAME_S
    assert mine.headers() != first and theirs.signer(mine.headers()[HEADER][0]) == "a"
    now = NOW
    assert mine.headers() == first


def test_without_a_secret_nothing_is_signed_and_nobody_known() -> None:
    nobody = Credentials("a", "", lambda: NOW)
    assert nobody.headers() == {}
    assert nobody.signer(sign("a", "", NOW)) is None


def test_a_sealed_message_is_opened_by_who_has_the_secret_and_is_as_it_was() -> None:
    message = seal(b"payload", SECRET)
    assert unseal(message, SECRET) == b"payload" and unseal(message, "another") is None
    assert unseal(message[:-1] + b"x", SECRET) is None and unseal(b"payload", SECRET) is None
    assert unseal(seal(b"payload", ""), "") == b"payload"
