"""
The nodes that are cut off from the bus: no longer heard on it, with no goodbye, and perhaps well all the same. With
them are those that are heard and have not answered there yet (see `livestream.cluster.challenges`).

Dead is who does not answer. So they are asked on, and each answer keeps them here. One that has failed to answer for
``GIVE_UP_S`` is given up: nobody asks it any more, since each request to a host that is silent costs seconds, and half
a minute is longer than a process takes to be started again, or a link to come back. One that nobody asks costs nothing,
and stays. One that is given up is still known until nothing was heard of it for ``KNOWN_S``: it may have what no other
node has, and any answer of it brings it back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

import attrs
from attrs import define, field
from twisted.logger import Logger

from livestream.cluster.messages import Heartbeat
from livestream.steering.nodes import Load, Node, NodeState

KNOWN_S = 600.0
"""A node that was not heard and has not answered for so long is forgotten."""
GIVE_UP_S = 30.0
"""A node that has not answered for so long, although it was asked, is asked no more."""
LOOK_S = 1.0


@define(eq=False)
class CutOffNode:
    """
    What is known of one: when it was heard last and has answered last, and since when it has failed to answer.

    One that ``is_heard`` is here until it has proven on the bus that what is heard of it is no recording.
    """

    heartbeat: Heartbeat
    heard_at: float
    is_heard: bool = False
    node: Node = field(init=False)
    answered_at: float | None = field(default=None, init=False)
    failing_since: float | None = field(default=None, init=False)
    is_given_up: bool = field(default=False, init=False)
    is_logged: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """What it carried is of another time, and is not known any more."""
        self.node = attrs.evolve(self.heartbeat.node, state=NodeState.CUT_OFF, load=Load())

    @property
    def alive_at(self) -> float:
        """When it gave the last sign of life."""
        return self.heard_at if self.answered_at is None else max(self.heard_at, self.answered_at)


@define(eq=False)
class CutOffNodes:
    """The nodes that are cut off, by their ids. ``changed`` is called when those that are to be asked change."""

    changed: Callable[[], None]
    _nodes: dict[str, CutOffNode] = field(factory=dict, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)

    log: ClassVar[Logger] = Logger()

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def add(self, heartbeat: Heartbeat, heard_at: float, *, is_heard: bool = False) -> None:
        """A node is cut off that was heard last with ``heartbeat``, or is heard and not believed."""
        self._nodes[heartbeat.node.id] = CutOffNode(heartbeat, heard_at, is_heard)
        self.changed()

    def remove(self, name: str) -> CutOffNode | None:
        """A node is heard again, or has left: forget it here, and return what was known of it."""
        removed = self._nodes.pop(name, None)
        if removed is not None:
            self.changed()
        return removed

    def get(self, name: str) -> CutOffNode | None:
        return self._nodes.get(name)

    def remove_oldest(self) -> None:
        """Make room: forget the one that was the first to be cut off."""
        self.remove(next(iter(self._nodes)))

    def in_use(self) -> list[CutOffNode]:
        """Those that are not given up."""
        return [each for each in self._nodes.values() if not each.is_given_up]

    def known(self) -> Sequence[Node]:
        """All, also those that are given up."""
        return [each.node for each in self._nodes.values()]

    # Whether they answer

    def answered(self, url: str, now: float) -> None:
        """The node at ``url`` has answered a request, over HTTP or RTMP."""
        for each in self._at(url):
            each.answered_at, each.failing_since = now, None
            if each.is_given_up:
                self.log.info("node {id} answers again", id=each.node.id)
            self._note(each, is_answering=True, is_given_up=False)

    def did_not_answer(self, url: str, now: float) -> None:
        """The node at ``url`` was asked in vain."""
        for each in self._at(url):
            if each.failing_since is None:
                each.failing_since = now
            failing_s = now - each.failing_since
            is_given_up = each.is_given_up or failing_s >= GIVE_UP_S
            if is_given_up and not each.is_given_up:
                words = "node {id} is given up: it is cut off from the bus, and has not answered for {s:.0f} s"
                self.log.warn(words, id=each.node.id, s=failing_s)
            self._note(each, is_answering=False, is_given_up=is_given_up)

    def _at(self, url: str) -> list[CutOffNode]:
        return [each for each in self._nodes.values() if url in (each.node.http, each.node.rtmp)]

    def _note(self, each: CutOffNode, *, is_answering: bool, is_given_up: bool) -> None:
        if (each.node.is_answering, each.is_given_up) != (is_answering, is_given_up):
            each.node = attrs.evolve(each.node, is_answering=is_answering)
            each.is_given_up = is_given_up
            self.changed()

    # How long they are known

    def look(self, now: float) -> None:
        """Say which are cut off, and forget those of which there was no sign of life for long."""
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        for each in list(self._nodes.values()):
            if not each.is_logged and not each.is_heard:
                self._log_cut_off(each, now)
            if now - each.alive_at > KNOWN_S:
                self.remove(each.node.id)
                if not each.is_given_up:
                    words = "node {id} is given up: it was not heard, nor has it answered, for {s:.0f} s"
                    self.log.warn(words, id=each.node.id, s=KNOWN_S)

    def _log_cut_off(self, each: CutOffNode, now: float) -> None:
        each.is_logged = True
        words = "node {id} is cut off from the bus: it has not been heard for {s:.0f} s, and is asked while it answers"
        self.log.warn(words, id=each.node.id, s=now - each.heard_at)

    def replaced(self, urls: Collection[str]) -> None:
        """Forget those at whose HTTP addresses others are heard: an answer from there says nothing of them."""
        for each in [each for each in self._nodes.values() if each.node.http in urls]:
            self.remove(each.node.id)
            self.log.info("node {id} is gone: another is at {http}", id=each.node.id, http=each.node.http)
