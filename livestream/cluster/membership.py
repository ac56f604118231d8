"""This node as a member of its cluster: sends a heartbeat every second, and knows the other nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from typing import Any

import attrs
from attrs import define, field

from livestream.cluster.directory import NodeDirectory
from livestream.cluster.load import LoadMeter
from livestream.cluster.messages import MAX_STREAMS, Heartbeat, encode
from livestream.cluster.nodes import LastSeen, Nodes
from livestream.cluster.report import clock_time, described, iso_time
from livestream.config import ROLES
from livestream.steering.nodes import Node, NodeState

PERIOD_S = 1.0


@define(eq=False)
class Membership:
    """
    This node, ``own``, among the ``others``. Every :meth:`tick` publishes its heartbeat by ``send``.

    It is ready while ``not_ready_reasons`` returns none. ``streams`` returns the streams it serves, each with its
    number of push viewers. ``directory`` lists all nodes for those that start later.
    """

    own: Node
    others: Nodes
    send: Callable[[bytes], None]
    meter: LoadMeter
    directory: NodeDirectory | None = None
    not_ready_reasons: Callable[[], Sequence[str]] = field(default=lambda: ["this node is starting"])
    streams: Callable[[], Mapping[str, int]] = field(default=dict)
    _cut_off_since: float | None = field(default=None, init=False)
    _sequence: int = field(default=0, init=False)
    _has_left: bool = field(default=False, init=False)

    def nodes(self) -> Sequence[Node]:
        """All nodes that are alive: this one first, and last those that are cut off from the bus."""
        return [self.own, *self.others.alive()]

    def reachable(self, role: str) -> Sequence[Node]:
        """
        The other nodes of ``role`` that have not said goodbye and gave a sign of life within ten minutes.

        They include those that are given up, unlike :meth:`nodes`: what none of them knows, no node knows.
        """
        return [node for node in self.others.reachable() if node.role == role]

    @property
    def knows_nodes(self) -> bool:
        """Whether the directory of nodes has been read, if there is one."""
        return self.directory is None or self.directory.is_read

    def warnings(self) -> list[str]:
        """What an operator should know about this node, even if it is ready."""
        if self._cut_off_since is None:
            return []
        lasted_s = self.others.seconds() - self._cut_off_since
        return [f"cut off from the bus since {clock_time(self._cut_off_since)} ({lasted_s:.0f} s)"]

    def tick(self) -> None:
        """Update this node's state and load, send its heartbeat, and count the nodes."""
        self._check_bus()
        state = self.own.state
        if state is not NodeState.DRAINING:
            state = NodeState.STARTING if self.not_ready_reasons() else NodeState.READY
        self.own = attrs.evolve(self.own, state=state, load=self.meter.measure())
        self._send_heartbeat()
        counts = Counter((node.role, node.state) for node in self.nodes())
        for role in ROLES:
            for each in NodeState:
                self.others.metrics.nodes.labels(role, each.value).set(counts[role, each])

    def update(self, own: Node) -> None:
        """Replace this node's description from the next heartbeat on, keeping its state and load."""
        self.own = attrs.evolve(own, state=self.own.state, load=self.own.load)
        if self.directory is not None:
            self.directory.renew()

    def drain(self) -> None:
        """Take no new work from now on, and tell the other nodes at once."""
        self.own = attrs.evolve(self.own, state=NodeState.DRAINING)
        self._send_heartbeat()

    def leave(self) -> None:
        """Say goodbye: the other nodes remove this one at once."""
        self._send_heartbeat(is_last=True)
        self._has_left = True
        if self.directory is not None:
            self.directory.deregister()

    def report(self) -> list[Mapping[str, Any]]:
        """The nodes that are alive, this one first, as JSON values."""
        now = self.others.seconds()
        own = {**described(LastSeen(self._heartbeat(), 0.0), now), "is_self": True}
        if self._cut_off_since is not None:
            own["cut_off_since"] = iso_time(self._cut_off_since)
        return [own, *(described(last, now) for last in self.others.last_seen())]

    def _check_bus(self) -> None:
        if self.others.is_bus_healthy():
            self._cut_off_since = None
        elif self._cut_off_since is None:
            self._cut_off_since = self.others.seconds()

    def _send_heartbeat(self, *, is_last: bool = False) -> None:
        if not self._has_left:
            self._sequence += 1
            heartbeat = self._heartbeat(is_last=is_last)
            asking = attrs.evolve(heartbeat, nonce=self.others.nonce(), answers=self.others.answers())
            message = encode(asking, self.others.secret)
            self.send(message)
            if self.directory is not None and not is_last:
                self.directory.register(message)

    def _heartbeat(self, *, is_last: bool = False) -> Heartbeat:
        streams = self.streams()
        most = nlargest(MAX_STREAMS, streams.items(), key=lambda item: (item[1], item[0]))
        return Heartbeat(
            self.own,
            self.others.boot,
            self._sequence,
            self.others.seconds(),
            dict(most),
            len(streams),
            is_last=is_last,
        )
