"""What several nodes of the tier above know, put together."""

from __future__ import annotations

from itertools import permutations

import attrs

from livestream.packaging.window import StreamState, Window
from livestream.roles.above import in_order
from tests.packaging.windows import EPOCH, announced


def state(*msns: int, gaps: tuple[int, ...] = (), epoch: int = EPOCH) -> StreamState:
    window = Window("show", 6)
    for msn in msns:
        window.fill(announced(msn, epoch=epoch, is_gap=msn in gaps, discontinuity=epoch - EPOCH))
    return attrs.evolve(window.state(), node=f"ingest-{epoch - EPOCH}")


def merged(states: list[StreamState]) -> Window:
    window = Window("show", 6)
    for each in in_order(states):
        window.merge(each)
    return window


def test_a_stream_that_went_from_one_to_another_is_read_in_that_order_whoever_answers_first() -> None:
    for states in permutations([state(10, 11), state(12, 13, epoch=EPOCH + 1), state(14, epoch=EPOCH + 2)]):
        window = merged(list(states))
        assert [segment.msn for segment in window.listed("source")] == [10, 11, 12, 13, 14]
        assert window.node == "ingest-2"


def test_what_one_missed_is_had_from_another() -> None:
    for states in permutations([state(10, 11, 12, 13, gaps=(11,)), state(10, 11, 12)]):
        listed = merged(list(states)).listed("source")
        assert [segment.msn for segment in listed] == [10, 11, 12, 13] and not any(s.is_gap for s in listed)
