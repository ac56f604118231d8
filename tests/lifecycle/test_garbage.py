"""What only refers to itself is freed soon on a node that has little, and not looked for on one that has much."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from livestream.lifecycle.garbage import LITTLE_BLOCKS, Garbage


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    thresholds = gc.get_threshold()
    garbage = Garbage()
    garbage.begin()
    yield garbage
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_has_become_garbage_goes_at_the_next_look_however_long_it_was_there(garbage: Garbage) -> None:
    kept = Cycle()
    gone = weakref.ref(kept)
    for _ in range(3):
        garbage.look()
    del kept
    assert gone() is not None
    garbage.look()
    assert gone() is None


def test_a_node_that_has_much_is_left_to_the_collector_itself(garbage: Garbage) -> None:
    gone = weakref.ref(Cycle())
    much = [object() for _ in range(2 * LITTLE_BLOCKS)]
    garbage.look()
    assert gone() is not None
    much.clear()
    garbage.look()
    assert gone() is None
