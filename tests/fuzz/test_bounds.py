"""The limits of CPU time and memory are enforced."""

from __future__ import annotations

from time import thread_time

import pytest
from attrs import define, field

from tests.fuzz.bounds import CPU_S, TooSlow, check, held_bytes


@define(eq=False)
class Holder:
    parts: list[bytearray] = field(factory=list)
    other: Holder | None = None


def spin(_: bytes) -> None:
    until = thread_time() + CPU_S / 20
    while thread_time() < until:
        pass


def test_a_slow_input_is_a_defect() -> None:
    check(spin, b"")
    with pytest.raises(TooSlow):
        check(spin, b"", slower=0.01)


def test_everything_reachable_is_measured_once() -> None:
    holder = Holder([bytearray(100_000)])
    holder.other = Holder(holder.parts, holder)
    assert 100_000 < held_bytes(holder) < 101_000
    assert held_bytes((holder.parts.append, len, Holder)) > 100_000
