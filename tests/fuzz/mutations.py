"""Seeded mutations of a corpus, for test runs without a fuzzer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.bounds import LONGEST_BYTES

Mutation = Callable[[Random, bytearray, Sequence[bytes]], None]

INTERESTING = (b"\x00", b"\xff", b"\x7f\xff", b"\x80\x00", b"\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00")


def mutated(random: Random, corpus: Sequence[bytes]) -> bytes:
    """One input of ``corpus`` after one to four mutations."""
    data = bytearray(random.choice(corpus))
    for _ in range(random.randint(1, 4)):
        random.choice(_MUTATIONS)(random, data, corpus)
    return bytes(data[:LONGEST_BYTES])


def repeated(random: Random, corpus: Sequence[bytes]) -> bytes:
    """One input of ``corpus`` with a part repeated up to the maximum length."""
    data = random.choice(corpus)
    start, stop = _span(random, bytearray(data))
    part = data[start:stop] or b"\x00"
    return (data[:stop] + part * (LONGEST_BYTES // len(part)))[:LONGEST_BYTES]


def _span(random: Random, data: bytearray) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(start + random.randint(0, 64), len(data))


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _overwrite(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    value = random.choice(INTERESTING)
    at = random.randint(0, len(data))
    data[at : at + len(value)] = value


def _delete(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, stop = _span(random, data)
    del data[start:stop]


def _cut_short(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[random.randint(0, len(data)) :]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, stop = _span(random, data)
    data[stop:stop] = data[start:stop] * random.randint(1, 8)


def _splice(random: Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    other = bytearray(random.choice(corpus))
    start, stop = _span(random, other)
    at = random.randint(0, len(data))
    data[at:at] = other[start:stop]


_MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _overwrite, _delete, _cut_short, _repeat, _splice)
