"""Sends this node's heartbeat every second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from typing import Any

import attrs
from attrs import define, field

from livestream.cluster.load import LoadMeter
from livestream.cluster.membership import Membership
from livestream.cluster.messages import MAX_STREAMS, Heartbeat, encode
from livestream.cluster.nodes import LastSeen
from livestream.cluster.report import clock_time, described, iso_time
from livestream.config import ROLES
from livestream.steering.nodes import NodeState

PERIOD_S = 1.0


@define(eq=False)
class HeartbeatSender:
    """
    Sends the heartbeat of this node, ``members.own``, by ``send``, with every :meth:`tick`.

    The node is ready while ``not_ready_reasons`` returns none. ``streams`` returns the streams it serves, each with its
    number of push viewers.
    """

    members: Membership
    send: Callable[[bytes], None]
    meter: LoadMeter
    not_ready_reasons: Callable[[], Sequence[str]]
    streams: Callable[[], Mapping[str, int]] = dict
    _cut_off_since: float | None = field(default=None, init=False)
    _sequence: int = field(default=0, init=False)
    _has_left: bool = field(default=False, init=False)

    def warnings(self) -> list[str]:
        """What an operator should know about this node, even if it is ready."""
        if self._cut_off_since is None:
            return []
        lasted_s = self.members.others.seconds() - self._cut_off_since
        return [f"cut off from the bus since {clock_time(self._cut_off_since)} ({lasted_s:.0f} s)"]

    def tick(self) -> None:
        """Update this node's state and load, send its heartbeat, and count the nodes."""
        self._check_bus()
        state = self.members.own.state
        if state is not NodeState.DRAINING:
            state = NodeState.STARTING if self.not_ready_reasons() else NodeState.READY
        self.members.own = attrs.evolve(self.members.own, state=state, load=self.meter.measure())
        self._send_heartbeat()
        counts = Counter((node.role, node.state) for node in self.members.nodes())
        for role in ROLES:
            for each in NodeState:
                self.members.others.metrics.nodes.labels(role, each.value).set(counts[role, each])

    def drain(self) -> None:
        """Take no new work from now on, and tell the other nodes at once."""
        self.members.own = attrs.evolve(self.members.own, state=NodeState.DRAINING)
        self._send_heartbeat()

    def leave(self) -> None:
        """Say goodbye: the other nodes remove this one at once."""
        self._send_heartbeat(is_last=True)
        self._has_left = True
        if self.members.directory is not None:
            self.members.directory.deregister()

    def report(self) -> list[Mapping[str, Any]]:
        """The nodes that are alive, this one first, as JSON values."""
        now = self.members.others.seconds()
        own = {**described(LastSeen(self._heartbeat(), 0.0), now), "is_self": True}
        if self._cut_off_since is not None:
            own["cut_off_since"] = iso_time(self._cut_off_since)
        return [own, *(described(last, now) for last in self.members.others.last_seen())]

    def _check_bus(self) -> None:
        if self.members.others.is_bus_healthy():
            self._cut_off_since = None
        elif self._cut_off_since is None:
            self._cut_off_since = self.members.others.seconds()

    def _send_heartbeat(self, *, is_last: bool = False) -> None:
        if not self._has_left:
            self._sequence += 1
            heartbeat = self._heartbeat(is_last=is_last)
            asking = attrs.evolve(heartbeat, nonce=self.members.others.nonce(), answers=self.members.others.answers())
            message = encode(asking, self.members.others.secret)
            self.send(message)
            if self.members.directory is not None and not is_last:
                self.members.directory.register(message)

    def _heartbeat(self, *, is_last: bool = False) -> Heartbeat:
        streams = self.streams()
        most = nlargest(MAX_STREAMS, streams.items(), key=lambda item: (item[1], item[0]))
        return Heartbeat(
            self.members.own,
            self.members.others.boot,
            self._sequence,
            self.members.others.seconds(),
            dict(most),
            len(streams),
            is_last=is_last,
        )
