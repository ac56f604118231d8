"""
An ingest among others: how far a stream has come anywhere, and when one that is here has gone elsewhere.

Ingests tell each other on the channel ``publishers`` whose publisher has come or left, signed with the cluster's
secret. Nothing of that is kept: who has missed it waits until the stream has been silent for long enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from livestream.bus.announcements import InvalidMessage, decode_change, encode_change
from livestream.bus.known_streams import Catalogue
from livestream.bus.published import Ledger
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.elsewhere import Elsewhere
from livestream.ingest.publish_admission import PublishDoor
from livestream.ingest.take import farthest
from livestream.model.segments import PublisherChange, StreamPosition
from livestream.signing import seal, unseal
from livestream.steering.nodes import Node

CHANNEL = "publishers"


@define(eq=False)
class Peers:
    """
    The other ingests. ``catalogue`` knows what any ingest announces, and ``ledger`` what this one does; ``nodes`` has
    all nodes that live, and ``secret`` is the cluster's.
    """

    catalogue: Catalogue
    ledger: Ledger
    nodes: Callable[[], Sequence[Node]]
    secret: str = field(default="", repr=False)

    def position(self, stream: str) -> StreamPosition:
        """How far a stream has come anywhere, as far as has been heard here."""
        return farthest([self.ledger.position(stream), self.catalogue.position(stream)])

    def join(self, broadcasts: Broadcasts, door: PublishDoor) -> None:
        """Have what the others go on with from here on given up here."""

        def outdone(stream: str, epoch: int, node: str) -> None:
            if broadcasts.give_up(stream, epoch):
                door.outdone(stream, node)

        elsewhere = Elsewhere(self.ledger.node, self.nodes, self.catalogue.clock, outdone)

        def heard(message: bytes) -> None:
            payload = unseal(message, self.secret)
            try:
                if payload is not None:
                    elsewhere.publisher_changed(decode_change(payload))
            except InvalidMessage:
                return

        door.elsewhere = elsewhere
        self.catalogue.subscribe(elsewhere.changed)
        self.catalogue.bus.hear(CHANNEL, heard)

    def publisher_changed(self, change: PublisherChange) -> None:
        """Tell the other ingests."""
        message = encode_change(evolve(change, node=self.ledger.node))
        self.catalogue.bus.tell(CHANNEL, seal(message, self.secret))
