"""
An ingest among others: how far a stream has come anywhere, and when one that is here has gone elsewhere.

Ingests tell each other on the channel ``publishers`` whose publisher has come or left, signed with the cluster's
secret. Nothing of that is kept: who has missed it waits until the stream has been silent for long enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from livestream.bus.announcements import InvalidMessage, decode_change, encode_change
from livestream.bus.known_streams import KnownStreams
from livestream.bus.published import PublishedStreams
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.claims import farthest
from livestream.ingest.other_ingests import RemotePublishers
from livestream.ingest.publish_admission import PublishDoor
from livestream.model.segments import PublisherChange, StreamPosition
from livestream.signing import seal, unseal
from livestream.steering.nodes import Node

CHANNEL = "publishers"


@define(eq=False)
class Peers:
    """
    The other ingests. ``known_streams`` knows what any ingest announces, and ``published`` what this one does;
    ``nodes`` has all nodes that live, and ``secret`` is the cluster's.
    """

    known_streams: KnownStreams
    published: PublishedStreams
    nodes: Callable[[], Sequence[Node]]
    secret: str = field(default="", repr=False)

    def position(self, stream: str) -> StreamPosition:
        """How far a stream has come anywhere, as far as has been heard here."""
        return farthest([self.published.position(stream), self.known_streams.position(stream)])

    def join(self, broadcasts: Broadcasts, door: PublishDoor) -> None:
        """Have what the others go on with from here on given up here."""

        def superseded(stream: str, epoch: int, node: str) -> None:
            if broadcasts.give_up(stream, epoch):
                door.superseded(stream, node)

        elsewhere = RemotePublishers(self.published.node, self.nodes, self.known_streams.clock, superseded)

        def heard(message: bytes) -> None:
            payload = unseal(message, self.secret)
            try:
                if payload is not None:
                    elsewhere.publisher_changed(decode_change(payload))
            except InvalidMessage:
                return

        door.elsewhere = elsewhere
        self.known_streams.subscribe(elsewhere.on_announcement)
        self.known_streams.bus.subscribe(CHANNEL, heard)

    def publisher_changed(self, change: PublisherChange) -> None:
        """Tell the other ingests."""
        message = encode_change(evolve(change, node=self.published.node))
        self.known_streams.bus.send(CHANNEL, seal(message, self.secret))
