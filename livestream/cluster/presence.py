"""This node in its cluster: what it says of itself every second, and who else is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from typing import Any

import attrs
from attrs import define, field

from livestream.cluster.load import LoadMeter
from livestream.cluster.messages import MOST_STREAMS, Heartbeat, encode
from livestream.cluster.nodes import Nodes
from livestream.cluster.report import described
from livestream.config import ROLES
from livestream.steering.nodes import Node, NodeState

PERIOD_S = 1.0


@define(eq=False)
class Presence:
    """
    This node among those that live. ``own`` is what it says of itself, by ``tell``, with every :meth:`tick`.

    It is ready while ``reasons`` has none, in words, why it is not. ``streams`` has those it serves, each with how many
    watch its push here.
    """

    own: Node
    others: Nodes
    tell: Callable[[bytes], None]
    meter: LoadMeter
    reasons: Callable[[], Sequence[str]] = field(default=lambda: ["this node is starting"])
    streams: Callable[[], Mapping[str, int]] = field(default=dict)
    _sequence: int = field(default=0, init=False)
    _has_left: bool = field(default=False, init=False)

    def nodes(self) -> Sequence[Node]:
        """All nodes that live, this one first."""
        return [self.own, *self.others.alive()]

    def tick(self) -> None:
        """Look at ourselves, and say what there is to say."""
        state = self.own.state
        if state is not NodeState.DRAINING:
            state = NodeState.STARTING if self.reasons() else NodeState.READY
        self.own = attrs.evolve(self.own, state=state, load=self.meter.measure())
        self._say()
        counts = Counter((node.role, node.state) for node in self.nodes())
        for role in ROLES:
            for each in NodeState:
                self.others.metrics.nodes.labels(role, each.value).set(counts[role, each])

    def become(self, own: Node) -> None:
        """Be ``own`` from the next message on, in the state and with the load that we have."""
        self.own = attrs.evolve(own, state=self.own.state, load=self.own.load)

    def drain(self) -> None:
        """Take no new work from here on; the others know at once."""
        self.own = attrs.evolve(self.own, state=NodeState.DRAINING)
        self._say()

    def leave(self) -> None:
        """Be no more: the others forget this node at once."""
        self._say(is_last=True)
        self._has_left = True

    def report(self) -> list[Mapping[str, Any]]:
        """All nodes that live, this one first, as what becomes JSON."""
        now = self.others.seconds()
        own = {**described(self._heartbeat(), 0.0, now), "is_self": True}
        return [own, *(described(heartbeat, age_s, now) for heartbeat, age_s in self.others.heard_last())]

    def _say(self, *, is_last: bool = False) -> None:
        if not self._has_left:
            self._sequence += 1
            self.tell(encode(self._heartbeat(is_last=is_last), self.others.secret))

    def _heartbeat(self, *, is_last: bool = False) -> Heartbeat:
        streams = self.streams()
        most = nlargest(MOST_STREAMS, streams.items(), key=lambda item: (item[1], item[0]))
        return Heartbeat(
            self.own,
            self.others.boot,
            self._sequence,
            self.others.seconds(),
            dict(most),
            len(streams),
            is_last=is_last,
        )
