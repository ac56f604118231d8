"""What nodes sign: who made it, and until when it holds."""

from __future__ import annotations

import pytest

from livestream.signing import CLOCKS_APART_S, LEARNT_APART_S, SAME_S, VALID_S, seal, sign, unseal
from livestream.signing import signer_of as signer_by

SECRET, NOW = "the secret of these tests", 1_800_000_000.0


def signer_of(signature: str, secret: str, now: float, clock: float | None = None) -> str | None:
    """The node that signed, whose clock shows ``clock`` as far as is known."""
    return signer_by(signature, secret, now, lambda _: clock)


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


@pytest.mark.parametrize("apart_s", [-3000, -CLOCKS_APART_S, 0, CLOCKS_APART_S, 3000])
def test_a_signature_expires_by_the_clock_of_who_made_it_where_that_is_known(apart_s: float) -> None:
    made_at = NOW + apart_s
    signature = sign("a", SECRET, made_at)

    def holds(later_s: float) -> bool:
        return signer_of(signature, SECRET, NOW + later_s, made_at + later_s) == "a"

    assert holds(0) and holds(VALID_S) and holds(-LEARNT_APART_S)
    assert not holds(VALID_S + LEARNT_APART_S + 1) and not holds(-LEARNT_APART_S - 1)


def test_the_clock_that_counts_is_that_of_the_node_that_signed() -> None:
    clocks = {"a": NOW + 290, "b": NOW}
    assert signer_by(sign("a", SECRET, NOW + 290), SECRET, NOW, clocks.get) == "a"
    assert signer_by(sign("b", SECRET, NOW + 290), SECRET, NOW, clocks.get) is None
    assert signer_by(sign("c", SECRET, NOW + 290), SECRET, NOW, clocks.get) == "c"


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
