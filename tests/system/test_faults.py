"""Three short runs of the laboratory: whatever moves, dies or is cut off, every edge tells the same story."""

from __future__ import annotations

import pytest

from tests.lab.laboratory import Plan
from tests.lab.nodes import SMALL, Topology
from tests.lab.scenarios import run
from tests.system.conftest import Site

SEED = 1
STALL_S = 5.0
"""Longer than a viewer has buffered, who begins three segments behind."""


@pytest.mark.parametrize(
    ("scenario", "topology", "seconds"),
    [
        pytest.param("move+kill-origin+kill-edge", Topology(2, 1, 2), None, id="moved-and-learnt-anew"),
        pytest.param("redis-flushed+kill-ingest", Topology(2, 1, 1), None, id="forgotten-and-killed"),
        pytest.param("cut-off-ingest", SMALL, 7.0, id="cut-off"),
    ],
)
def test_no_segment_is_lost_and_no_number_is_given_twice(
    site: Site, scenario: str, topology: Topology, seconds: float | None
) -> None:
    outcome = run(scenario, Plan(SEED, site.folder, topology, streams=1, moves=2, seconds=seconds))
    assert outcome.troubles() == [], outcome.remarks
    assert outcome.stall_s < STALL_S, outcome.remarks
    assert outcome.recovery_s < STALL_S, outcome.remarks
