"""This node in its cluster: what it says of itself every second, and who else is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from typing import Any

import attrs
from attrs import define, field

from livestream.cluster.kept import KeptList
from livestream.cluster.load import LoadMeter
from livestream.cluster.messages import MOST_STREAMS, Heartbeat, encode
from livestream.cluster.nodes import LastHeard, Nodes
from livestream.cluster.report import clock_time, described, iso_time
from livestream.config import ROLES
from livestream.steering.nodes import Node, NodeState

PERIOD_S = 1.0


@define(eq=False)
class Presence:
    """
    This node among those that live. ``own`` is what it says of itself, by ``tell``, with every :meth:`tick`.

    It is ready while ``reasons`` has none, in words, why it is not. ``streams`` has those it serves, each with how many
    watch its push here. ``kept`` is the list of all nodes for those that start later.
    """

    own: Node
    others: Nodes
    tell: Callable[[bytes], None]
    meter: LoadMeter
    kept: KeptList | None = None
    reasons: Callable[[], Sequence[str]] = field(default=lambda: ["this node is starting"])
    streams: Callable[[], Mapping[str, int]] = field(default=dict)
    _cut_off_since: float | None = field(default=None, init=False)
    _sequence: int = field(default=0, init=False)
    _has_left: bool = field(default=False, init=False)

    def nodes(self) -> Sequence[Node]:
        """All nodes that live, this one first, and last those that are cut off from the bus."""
        return [self.own, *self.others.alive()]

    def reachable(self, role: str) -> Sequence[Node]:
        """
        The other nodes of ``role`` that have not said goodbye and were heard, or have answered, within ten minutes.

        What none of them knows, nobody knows: they are more than :meth:`nodes` has, for some may have been given up.
        """
        return [node for node in self.others.reachable() if node.role == role]

    @property
    def knows_nodes(self) -> bool:
        """Whether the nodes that there are have been learnt of, if there is a list of them."""
        return self.kept is None or self.kept.is_read

    def warnings(self) -> list[str]:
        """What an operator should know of this node, though it may be ready."""
        if self._cut_off_since is None:
            return []
        lasted_s = self.others.seconds() - self._cut_off_since
        return [f"cut off from the bus since {clock_time(self._cut_off_since)} ({lasted_s:.0f} s)"]

    def tick(self) -> None:
        """Look at ourselves, and say what there is to say."""
        self._look_at_bus()
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
        if self.kept is not None:
            self.kept.renew()

    def drain(self) -> None:
        """Take no new work from here on; the others know at once."""
        self.own = attrs.evolve(self.own, state=NodeState.DRAINING)
        self._say()

    def leave(self) -> None:
        """Be no more: the others forget this node at once."""
        self._say(is_last=True)
        self._has_left = True
        if self.kept is not None:
            self.kept.remove()

    def report(self) -> list[Mapping[str, Any]]:
        """The nodes that live, this one first, as what becomes JSON."""
        now = self.others.seconds()
        own = {**described(LastHeard(self._heartbeat(), 0.0), now), "is_self": True}
        if self._cut_off_since is not None:
            own["cut_off_since"] = iso_time(self._cut_off_since)
        return [own, *(described(last, now) for last in self.others.heard_last())]

    def _look_at_bus(self) -> None:
        if self.others.is_bus_healthy():
            self._cut_off_since = None
        elif self._cut_off_since is None:
            self._cut_off_since = self.others.seconds()

    def _say(self, *, is_last: bool = False) -> None:
        if not self._has_left:
            self._sequence += 1
            heartbeat = self._heartbeat(is_last=is_last)
            asking = attrs.evolve(heartbeat, nonce=self.others.nonce(), answers=self.others.answers())
            message = encode(asking, self.others.secret)
            self.tell(message)
            if self.kept is not None and not is_last:
                self.kept.keep(message)

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
