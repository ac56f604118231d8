"""
The nodes that are cut off from the bus: their heartbeats stopped without a goodbye, but they may still work. Also here
are nodes whose heartbeats arrive but have not been verified yet (see `livestream.cluster.challenges`).

Only a node that does not answer requests is taken to be dead. So these nodes are still asked, and each answer keeps
them here. One that has failed to answer for ``GIVE_UP_S`` is given up: it is asked no more, since each request to a
silent host costs seconds, and half a minute is longer than a process takes to restart, or a link to recover. A node
that nobody asks costs nothing, and stays. One that is given up is still remembered for ``FORGET_S`` after its last
sign of life: it may have what no other node has, and any answer from it reinstates it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

import attrs
from attrs import define, field
from twisted.logger import Logger

from livestream.cluster.messages import Heartbeat
from livestream.steering.nodes import Load, Node, NodeState

FORGET_S = 600.0
"""A node with no heartbeat and no answer for this long is forgotten."""
GIVE_UP_S = 30.0
"""A node that has failed to answer for this long is given up."""
CHECK_S = 1.0


@define(eq=False)
class CutOffNode:
    """
    A node that is cut off: its last heartbeat, when it last answered, and since when it has failed to answer.

    One that ``is_unverified`` is here until it has proved on the bus that its messages are no recordings.
    """

    heartbeat: Heartbeat
    seen_at: float
    is_unverified: bool = False
    node: Node = field(init=False)
    answered_at: float | None = field(default=None, init=False)
    failing_since: float | None = field(default=None, init=False)
    is_given_up: bool = field(default=False, init=False)
    is_logged: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Its load is out of date, and therefore unknown."""
        self.node = attrs.evolve(self.heartbeat.node, state=NodeState.CUT_OFF, load=Load())

    @property
    def alive_at(self) -> float:
        """When it last gave a sign of life."""
        return self.seen_at if self.answered_at is None else max(self.seen_at, self.answered_at)


@define(eq=False)
class CutOffNodes:
    """The nodes that are cut off, by id. ``changed`` is called when the nodes in use change."""

    changed: Callable[[], None]
    _nodes: dict[str, CutOffNode] = field(factory=dict, init=False)
    _checked_at: float = field(default=float("-inf"), init=False)

    log: ClassVar[Logger] = Logger()

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def add(self, heartbeat: Heartbeat, seen_at: float, *, is_unverified: bool = False) -> None:
        """Add a node whose last heartbeat was this, or which is not verified yet."""
        self._nodes[heartbeat.node.id] = CutOffNode(heartbeat, seen_at, is_unverified)
        self.changed()

    def remove(self, name: str) -> CutOffNode | None:
        """Remove and return a node that is back, or has left."""
        removed = self._nodes.pop(name, None)
        if removed is not None:
            self.changed()
        return removed

    def get(self, name: str) -> CutOffNode | None:
        return self._nodes.get(name)

    def remove_oldest(self) -> None:
        """Make room: remove the node that has been cut off the longest."""
        self.remove(next(iter(self._nodes)))

    def in_use(self) -> list[CutOffNode]:
        """Those that are not given up."""
        return [each for each in self._nodes.values() if not each.is_given_up]

    def known(self) -> Sequence[Node]:
        """All nodes, including those that are given up."""
        return [each.node for each in self._nodes.values()]

    # Answers

    def answered(self, url: str, now: float) -> None:
        """The node at ``url`` has answered a request, over HTTP or RTMP."""
        for each in self._at(url):
            each.answered_at, each.failing_since = now, None
            if each.is_given_up:
                self.log.info("node {id} answers again", id=each.node.id)
            self._update(each, is_answering=True, is_given_up=False)

    def did_not_answer(self, url: str, now: float) -> None:
        """The node at ``url`` did not answer a request."""
        for each in self._at(url):
            if each.failing_since is None:
                each.failing_since = now
            failing_s = now - each.failing_since
            is_given_up = each.is_given_up or failing_s >= GIVE_UP_S
            if is_given_up and not each.is_given_up:
                message = "node {id} is no longer used: cut off from the bus, and no answer for {s:.0f} s"
                self.log.warn(message, id=each.node.id, s=failing_s)
            self._update(each, is_answering=False, is_given_up=is_given_up)

    def _at(self, url: str) -> list[CutOffNode]:
        return [each for each in self._nodes.values() if url in (each.node.http, each.node.rtmp)]

    def _update(self, each: CutOffNode, *, is_answering: bool, is_given_up: bool) -> None:
        if (each.node.is_answering, each.is_given_up) != (is_answering, is_given_up):
            each.node = attrs.evolve(each.node, is_answering=is_answering)
            each.is_given_up = is_given_up
            self.changed()

    # Expiry

    def expire(self, now: float) -> None:
        """Log the nodes that are newly cut off, and forget those with no sign of life for ``FORGET_S``."""
        if now - self._checked_at < CHECK_S:
            return
        self._checked_at = now
        for each in list(self._nodes.values()):
            if not each.is_logged and not each.is_unverified:
                self._log_cut_off(each, now)
            if now - each.alive_at > FORGET_S:
                self.remove(each.node.id)
                if not each.is_given_up:
                    message = "node {id} removed: no heartbeat and no answer for {s:.0f} s"
                    self.log.warn(message, id=each.node.id, s=FORGET_S)

    def _log_cut_off(self, each: CutOffNode, now: float) -> None:
        each.is_logged = True
        message = "node {id} is cut off from the bus: no heartbeat for {s:.0f} s; it is still used while it answers"
        self.log.warn(message, id=each.node.id, s=now - each.seen_at)

    def replaced(self, urls: Collection[str]) -> None:
        """Remove the nodes whose HTTP addresses other nodes now have: an answer from there says nothing about them."""
        for each in [each for each in self._nodes.values() if each.node.http in urls]:
            self.remove(each.node.id)
            self.log.info("node {id} removed: another node is at {http}", id=each.node.id, http=each.node.http)
