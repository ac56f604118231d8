"""What nodes sign: who made it, and until when it holds."""

from __future__ import annotations

import pytest

from livestream.signing import CLOCKS_APART_S, SAME_S, VALID_S, seal, sign, signer_of, unseal

SECRET, NOW = "the secret of these tests", 1_800_000_000.0


def test_a_signature_says_who_asks_and_stays_the_same_for_a_while() -> None:
    signature = sign("edge-1.eu", SECRET, NOW)
    assert signer_of(signature, SECRET, NOW) == "edge-1.eu"
    assert sign("edge-1.eu", SECRET, NOW + SAME_S - 1) == signature != sign("edge-1.eu", SECRET, NOW + SAME_S)


@pytest.mark.parametrize("apart_s", [-CLOCKS_APART_S, -1, 1, CLOCKS_APART_S])
def test_clocks_may_be_minutes_apart(apart_s: float) -> None:
    assert signer_of(sign("a", SECRET, NOW + apart_s), SECRET, NOW) == "a"


@pytest.mark.parametrize("later_s", [-CLOCKS_APART_S - VALID_S, CLOCKS_APART_S + VALID_S + 1])
def test_a_signature_does_not_hold_for_ever(later_s: float) -> None:
    assert signer_of(sign("a", SECRET, NOW), SECRET, NOW + later_s) is None


def test_nothing_else_is_a_signature() -> None:
    signature = sign("a", SECRET, NOW)
    node, expires, digest = signature.split(".")
    others = [sign("a", SECRET + "x", NOW), f"b.{expires}.{digest}", f"{node}.{int(expires) + 30}.{digest}"]
    others += ["", "a", f"{signature}\n", signature.upper(), f"a.{'9' * 5000}.{digest}", "\u0661." * 3]
    assert [signer_of(other, SECRET, NOW) for other in others] == [None] * len(others)


def test_a_sealed_message_is_opened_by_who_has_the_secret_and_is_as_it_was() -> None:
    message = seal(b"payload", SECRET)
    assert unseal(message, SECRET) == b"payload" and unseal(message, "another") is None
    assert unseal(message[:-1] + b"x", SECRET) is None and unseal(b"payload", SECRET) is None
    assert unseal(seal(b"payload", ""), "") == b"payload"
