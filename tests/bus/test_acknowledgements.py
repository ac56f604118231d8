"""What an ingest that is going knows of what the origins have."""

from __future__ import annotations

import pytest
from attrs import define, field

from livestream.bus.acknowledgements import Acknowledgements
from livestream.bus.interface import Tier
from livestream.bus.memory import MemoryBus
from livestream.bus.published import PublishedStreams
from tests.packaging.windows import announced, ended


@define(eq=False)
class Scene:
    origins: list[str] = field(factory=list)
    bus: MemoryBus = field(factory=MemoryBus)
    ingest: PublishedStreams = field(init=False)
    acknowledgements: Acknowledgements = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ingest = PublishedStreams(self.bus, Tier.INGEST, 4, "ingest-1")
        self.acknowledgements = Acknowledgements(self.bus, self.ingest, lambda: self.origins)

    def origin(self, node: str) -> PublishedStreams:
        return PublishedStreams(self.bus, Tier.ORIGIN, 4, node)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_the_origins_had_before_is_not_waited_for(scene: Scene) -> None:
    scene.origins = ["origin-1"]
    scene.ingest.record(announced(10))
    scene.origin("origin-1").announce(announced(10))
    scene.acknowledgements.start()
    assert scene.acknowledgements.outstanding == 0


def test_every_origin_must_have_every_segment_in_whatever_order(scene: Scene) -> None:
    scene.origins = ["origin-1", "origin-2"]
    first, second = scene.origin("origin-1"), scene.origin("origin-2")
    scene.ingest.record(announced(10))
    scene.acknowledgements.start()
    scene.ingest.record(announced(11))
    for msn in (11, 10):
        first.announce(announced(msn))
    second.announce(announced(11))
    assert scene.acknowledgements.outstanding == 1
    second.announce(announced(10))
    assert scene.acknowledgements.outstanding == 0


def test_an_origin_that_has_gone_is_not_waited_for(scene: Scene) -> None:
    scene.origins = ["origin-1", "origin-2"]
    scene.acknowledgements.start()
    scene.ingest.record(announced(10))
    scene.origin("origin-1").announce(announced(10))
    assert scene.acknowledgements.outstanding == 1
    scene.origins.remove("origin-2")
    assert scene.acknowledgements.outstanding == 0


def test_where_nobody_knows_the_origins_one_must_have_it(scene: Scene) -> None:
    scene.acknowledgements.start()
    scene.ingest.record(announced(10))
    assert scene.acknowledgements.outstanding == 1
    scene.origin("origin").announce(announced(10))
    assert scene.acknowledgements.outstanding == 0


def test_an_end_is_not_waited_for(scene: Scene) -> None:
    scene.acknowledgements.start()
    scene.ingest.record(ended(10))
    assert scene.acknowledgements.outstanding == 0
