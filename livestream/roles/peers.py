"""An ingest among others: where a stream that comes here goes on from, and when one that is here has gone elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define
from twisted.internet.defer import Deferred

from livestream.bus.catalogue import Catalogue
from livestream.bus.ledger import Ledger
from livestream.bus.memory import Tier
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.elsewhere import Elsewhere
from livestream.ingest.publisher import PublishDoor
from livestream.packaging.window import StreamState
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

    def recall(self, stream: str) -> Deferred[StreamState | None]:
        """How far a stream has come anywhere, by whoever knows most."""
        windows = (self.ledger.window(stream), self.catalogue.window(stream))
        known = [window.state() for window in windows if window is not None]
        asked = self.catalogue.bus.recall(Tier.INGEST, stream).addErrback(lambda _: None)
        return asked.addCallback(lambda state: _farthest(known if state is None else [*known, state]))

    def join(self, broadcasts: Broadcasts, door: PublishDoor) -> None:
        """Have what the others go on with from here on given up here."""

        def outdone(stream: str, epoch: int, node: str) -> None:
            if broadcasts.give_up(stream, epoch):
                door.outdone(stream, node)
            window = self.ledger.window(stream)
            if window is not None and window.epoch < epoch:
                self.ledger.release(stream)

        elsewhere = Elsewhere(self.ledger.node, self.nodes, self.catalogue.clock, outdone)
        door.elsewhere = elsewhere.holder
        self.catalogue.subscribe(elsewhere.changed)


def _farthest(states: list[StreamState]) -> StreamState | None:
    return max(states, key=_progress, default=None)


def _progress(state: StreamState) -> tuple[int, int]:
    segments = (segment for rendition in state.renditions for segment in rendition.segments)
    return state.epoch, max((segment.msn for segment in segments), default=-1)
