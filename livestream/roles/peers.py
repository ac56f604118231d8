"""An ingest among others: how far a stream has come anywhere, and when one that is here has gone elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from livestream.bus.catalogue import Catalogue
from livestream.bus.ledger import Ledger
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.elsewhere import Elsewhere
from livestream.ingest.publisher import PublishDoor
from livestream.ingest.take import farthest
from livestream.model import StreamPosition
from livestream.steering.nodes import Node


@define(eq=False)
class Peers:
    """
    The other ingests. ``catalogue`` knows what any ingest announces, and ``ledger`` what this one does; ``nodes`` has
    all nodes that live.
    """

    catalogue: Catalogue
    ledger: Ledger
    nodes: Callable[[], Sequence[Node]]

    def position(self, stream: str) -> StreamPosition:
        """How far a stream has come anywhere, as far as has been heard here."""
        return farthest([self.ledger.position(stream), self.catalogue.position(stream)])

    def join(self, broadcasts: Broadcasts, door: PublishDoor) -> None:
        """Have what the others go on with from here on given up here."""

        def outdone(stream: str, epoch: int, node: str) -> None:
            if broadcasts.give_up(stream, epoch):
                door.outdone(stream, node)

        elsewhere = Elsewhere(self.ledger.node, self.nodes, self.catalogue.clock, outdone)
        door.elsewhere = elsewhere.holder
        self.catalogue.subscribe(elsewhere.changed)
