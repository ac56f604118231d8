"""The other nodes: what each said last, for as long as it goes on saying something."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar

from attrs import define, field
from twisted.logger import Logger

from livestream.cluster.messages import Fault, Heartbeat, InvalidHeartbeat, decode
from livestream.metrics import Metrics
from livestream.steering.nodes import Node

SILENT_S = 3.0
"""A node of which nothing was heard for so long is gone."""
DEAF_S = 1.5
"""When nothing at all was heard for so long, not even ourselves, it is the bus that is away, and not the others."""
FAR_S = 900.0
"""What was sent so long ago or ahead, by clocks that may be five minutes apart, is a recording."""
REMEMBERED_S = 2 * FAR_S + SILENT_S
"""So long a run of a node is remembered, so that no recording of it passes for the node."""
REMEMBERED = 4
"""As many runs are remembered as this times the nodes that there may be."""
COMPLAIN_S = 60.0
WORDS = {
    Fault.UNSIGNED: "it has no signature; look who else writes to this Redis",
    Fault.ALTERED: "its signature is not of our secret; give every node the same cluster.secret",
    Fault.VERSION: "it is of another version; upgrade the nodes that are older",
    Fault.IMPOSSIBLE: "it makes no sense; look which node does not run this program",
    Fault.STALE: "it was sent a quarter of an hour ago or ahead, or more; set the clocks of both nodes",
    Fault.REPLAYED: "it was sent before; look who else writes to this Redis",
    Fault.DUPLICATE: "two processes have one name, and the first is believed; give each a node.id of its own",
    Fault.TOO_MANY: "there are too many nodes; divide them among clusters, each with its own Redis",
}


@define(eq=False)
class Known:
    """A node, when it was heard last by our clock, and whether another process was heard that uses its name."""

    heartbeat: Heartbeat
    heard_at: float
    is_contested: bool = False


@define(eq=False)
class Past:
    """A run of a node: how far it has come, and when it was heard last."""

    sequence: int
    heard_at: float
    is_over: bool = False


@define(eq=False)
class Nodes:
    """
    The nodes that live, without ourselves, who are ``own`` in our run ``boot``.

    When they were heard is told by ``monotonic``; their clocks and ours, ``seconds``, may be wrong. While the bus is
    away, and ``SILENT_S`` longer, the last picture holds. ``most`` bounds it.
    """

    own: str
    boot: int
    secret: str
    is_bus_healthy: Callable[[], bool]
    monotonic: Callable[[], float]
    seconds: Callable[[], float]
    metrics: Metrics
    most: int = 10_000
    _known: OrderedDict[str, Known] = field(factory=OrderedDict, init=False)
    _past: OrderedDict[tuple[str, int], Past] = field(factory=OrderedDict, init=False)
    _alive: Sequence[Node] | None = field(default=None, init=False)
    _heard_at: float = field(default=float("-inf"), init=False)
    _back_at: float = field(default=float("-inf"), init=False)
    _complained_at: dict[Fault, float] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def alive(self) -> Sequence[Node]:
        """The nodes that live, as they said last."""
        self._expire()
        if self._alive is None:
            self._alive = tuple(known.heartbeat.node for known in self._known.values())
        return self._alive

    def heard_last(self) -> Sequence[tuple[Heartbeat, float]]:
        """All that they said last, and how many seconds ago."""
        self._expire()
        now = self.monotonic()
        return [(known.heartbeat, now - known.heard_at) for known in self._known.values()]

    def heard(self, message: bytes) -> None:
        """Take in what came over the bus, from whomever."""
        try:
            heartbeat = decode(message, self.secret)
            outcome = self._take(heartbeat)
        except InvalidHeartbeat as error:
            outcome = error.fault.value
            self._complain(error)
        self.metrics.node_messages.labels(outcome).inc()

    def _take(self, heartbeat: Heartbeat) -> str:
        """Take in what a node of ours said; the result is how it is counted."""
        name = heartbeat.node.id
        if abs(heartbeat.sent_at - self.seconds()) > FAR_S:
            raise _fault(Fault.STALE, heartbeat)
        self._remember(heartbeat)
        self._listening()
        if name == self.own:
            if heartbeat.boot == self.boot:
                return "own"
            raise _fault(Fault.DUPLICATE, heartbeat)
        self._expire()
        known = self._known.get(name)
        if known is not None and known.heartbeat.boot != heartbeat.boot:
            known.is_contested = not heartbeat.is_last
            return Fault.DUPLICATE.value
        if heartbeat.is_last:
            self._forget(name)
        elif known is None and len(self._known) >= self.most:
            raise _fault(Fault.TOO_MANY, heartbeat)
        else:
            self._keep(heartbeat, known)
        return "heard"

    def _keep(self, heartbeat: Heartbeat, known: Known | None) -> None:
        name = heartbeat.node.id
        self._known[name] = Known(heartbeat, self.monotonic())
        self._known.move_to_end(name)
        self._alive = None
        if known is None:
            self.log.info("node {id} is there: {role} at {http}", **_words(heartbeat.node))
        elif known.is_contested:
            self._complain(_fault(Fault.DUPLICATE, heartbeat))

    def _forget(self, name: str) -> None:
        if self._known.pop(name, None) is not None:
            self._alive = None
            self.log.info("node {id} has left", id=name)

    def _remember(self, heartbeat: Heartbeat) -> None:
        """
        Note how far a run has come.

        :raises InvalidHeartbeat: it had come so far before.
        """
        run, now = (heartbeat.node.id, heartbeat.boot), self.monotonic()
        past = self._past.get(run)
        if past is not None and (past.is_over or heartbeat.sequence <= past.sequence):
            raise _fault(Fault.REPLAYED, heartbeat)
        self._past[run] = Past(heartbeat.sequence, now, heartbeat.is_last)
        self._past.move_to_end(run)
        oldest = next(iter(self._past.values()))
        while len(self._past) > REMEMBERED * self.most or now - oldest.heard_at > REMEMBERED_S:
            self._past.popitem(last=False)
            oldest = next(iter(self._past.values()))

    def _listening(self) -> None:
        """Something of ours was heard, so the bus is there; if it was not, the others get time to speak."""
        now = self.monotonic()
        if now - self._heard_at > DEAF_S:
            self._back_at = now
        self._heard_at = now

    def _expire(self) -> None:
        """Forget those who are silent, while it is not the bus that is."""
        now = self.monotonic()
        if not self.is_bus_healthy():
            self._back_at = now
        if now - self._heard_at > DEAF_S or now - self._back_at <= SILENT_S:
            return
        while self._known:
            name, known = next(iter(self._known.items()))
            if now - known.heard_at <= SILENT_S:
                return
            del self._known[name]
            self._alive = None
            self.log.warn("node {id} has not been heard for {s} s, and is gone", id=name, s=SILENT_S)

    def _complain(self, error: InvalidHeartbeat) -> None:
        now = self.monotonic()
        if now - self._complained_at.get(error.fault, float("-inf")) >= COMPLAIN_S:
            self._complained_at[error.fault] = now
            words = "a message about a node is dropped ({error}): {words}"
            self.log.warn(words, error=error, words=WORDS[error.fault])


def _fault(fault: Fault, heartbeat: Heartbeat) -> InvalidHeartbeat:
    words = "{id}, {role} at {http}".format(**_words(heartbeat.node))
    return InvalidHeartbeat(fault, words)


def _words(node: Node) -> dict[str, str]:
    return {"id": node.id, "role": node.role, "http": node.http}
