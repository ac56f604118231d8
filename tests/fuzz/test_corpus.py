"""Replays the corpus, and seeded mutations of it, on the targets. This needs no fuzzer."""

from __future__ import annotations

from hashlib import sha1
from random import Random

import pytest

from tests.fuzz.bounds import LONGEST_BYTES, check
from tests.fuzz.mutations import mutated, repeated
from tests.fuzz.targets import CORPUS, TARGETS, kept

MUTATED = 300
REPEATED = 5


def check_named(name: str, data: bytes, what: str) -> None:
    """Run a target on an input; a failure names the input."""
    try:
        check(TARGETS[name].run, data)
    except BaseException as error:
        error.add_note(f"{name} fails at {what}: {data[:200].hex()}")
        raise


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_passes(name: str) -> None:
    for path in kept(name):
        check_named(name, path.read_bytes(), path.name)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_the_corpus_pass(name: str) -> None:
    corpus, random = [path.read_bytes() for path in kept(name)], Random(name)
    for number in range(MUTATED):
        check_named(name, mutated(random, corpus), f"mutation {number}")


@pytest.mark.parametrize("name", TARGETS)
def test_the_longest_inputs_are_parsed_in_linear_time(name: str) -> None:
    corpus, random = [path.read_bytes() for path in kept(name)], Random(name)
    for number in range(REPEATED):
        check_named(name, repeated(random, corpus), f"repetition {number}")


def test_the_corpus_is_small_and_its_files_are_named_by_their_hash() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    sizes = []
    for name in TARGETS:
        for path in kept(name):
            data = path.read_bytes()
            assert path.name == sha1(data).hexdigest()
            sizes.append(len(data))
    assert max(sizes) <= LONGEST_BYTES
    assert sum(sizes) < 1_000_000
