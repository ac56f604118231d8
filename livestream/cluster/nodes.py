"""The other nodes of the cluster: the last heartbeat of each, while it sends more or, cut off, answers requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import ClassVar

from attrs import define, field, frozen
from twisted.logger import Logger

from livestream.cluster.cut_off import FORGET_S, GIVE_UP_S, CutOffNodes
from livestream.cluster.messages import Fault, Heartbeat, InvalidHeartbeat, decode
from livestream.cluster.runs import MAX_AGE_S, NodeRuns
from livestream.metrics import Metrics
from livestream.steering.nodes import Node

SILENT_S = 3.0
"""A node without a heartbeat for this long is cut off from the bus."""
BUS_SILENT_S = 1.5
"""With no message at all for this long, not even our own, the bus is down, rather than the other nodes."""
WARN_INTERVAL_S = 60.0
ADVICE = {
    Fault.UNSIGNED: "it has no signature; find out who else writes to this Redis",
    Fault.ALTERED: "it is signed with another secret; give every node the same cluster.secret",
    Fault.VERSION: "it has another version; upgrade the older nodes",
    Fault.IMPOSSIBLE: "it is malformed; find the node that does not run this program",
    Fault.STALE: "it is dated more than a quarter of an hour ago, or ahead; synchronize the clocks of both nodes",
    Fault.UNANSWERED: (
        "it does not answer challenges on the bus: it is a recording, or that node receives nothing from Redis; check "
        "its log, and who else writes to this Redis"
    ),
    Fault.REPLAYED: "it was sent before; find out who else writes to this Redis",
    Fault.DUPLICATE: "two processes have the same name, and the first is trusted; give each a node.id of its own",
    Fault.TOO_MANY: "there are too many nodes; split them into clusters, each with its own Redis",
}


@define(eq=False)
class KnownNode:
    """A node: its last heartbeat, when that arrived, and whether another process uses the same name."""

    heartbeat: Heartbeat
    seen_at: float
    is_contested: bool = False


@frozen
class LastSeen:
    """
    A node's last heartbeat, and its age in seconds.

    ``answered_age_s`` is how long ago a node that is cut off last answered a request; ``None`` if it has not.
    """

    heartbeat: Heartbeat
    age_s: float
    is_cut_off: bool = False
    answered_age_s: float | None = None


@define(eq=False)
class Nodes:
    """
    The other nodes. This one is ``own``, in the run ``boot`` of its process.

    A node that falls silent without a goodbye is cut off from the bus, and stays while it answers requests. So does one
    that has not yet proved to be no recording: it is asked at the address it gives, and nothing else in its messages is
    trusted. Arrival times are by ``monotonic``, since wall clocks, this node's ``seconds`` included, may be wrong.
    While the bus is down, and for ``SILENT_S`` after, the last known state holds. There are at most ``limit`` nodes.
    """

    own: str
    boot: int
    secret: str = field(repr=False)
    is_bus_healthy: Callable[[], bool]
    monotonic: Callable[[], float]
    seconds: Callable[[], float]
    metrics: Metrics
    limit: int = 10_000
    _known: OrderedDict[str, KnownNode] = field(factory=OrderedDict, init=False)
    _cut_off: CutOffNodes = field(init=False)
    _runs: NodeRuns = field(init=False)
    _alive: Sequence[Node] | None = field(default=None, init=False)
    _received_at: float = field(default=float("-inf"), init=False)
    _back_at: float = field(default=float("-inf"), init=False)
    _warned_at: dict[Fault, float] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._cut_off = CutOffNodes(self._changed)
        self._runs = NodeRuns(self.monotonic, self.limit)

    def alive(self) -> Sequence[Node]:
        """The nodes whose heartbeats arrive, and then those that are cut off but not given up."""
        self._expire()
        if self._alive is None:
            nodes = [known.heartbeat.node for known in self._known.values()]
            self._alive = (*nodes, *(each.node for each in self._cut_off.in_use()))
        return self._alive

    def reachable(self) -> Sequence[Node]:
        """The nodes that have not said goodbye and gave a sign of life within ten minutes, sorted by id."""
        self._expire()
        nodes = (known.heartbeat.node for known in self._known.values())
        return sorted([*nodes, *self._cut_off.known()], key=lambda node: node.id)

    def last_seen(self) -> Sequence[LastSeen]:
        """The last heartbeats of the nodes that are alive."""
        self._expire()
        now = self.monotonic()
        seen = [LastSeen(known.heartbeat, now - known.seen_at) for known in self._known.values()]
        for each in self._cut_off.in_use():
            answered_age_s = None if each.answered_at is None else now - each.answered_at
            seen.append(LastSeen(each.heartbeat, now - each.seen_at, True, answered_age_s))
        return seen

    def answered(self, url: str) -> None:
        """A node has answered a request at ``url``, its HTTP or RTMP address."""
        if self._cut_off:
            self._cut_off.answered(url, self.monotonic())

    def did_not_answer(self, url: str) -> None:
        """The node at ``url`` did not answer a request."""
        if self._cut_off:
            self._cut_off.did_not_answer(url, self.monotonic())

    def nonce(self) -> str:
        """The nonce for the next heartbeat, or empty; warn of the nodes that have not answered earlier ones."""
        for heartbeat in self._runs.challenges.unanswered():
            self._warn(InvalidHeartbeat.of(Fault.UNANSWERED, heartbeat))
        return self._runs.challenges.nonce()

    def answers(self) -> tuple[str, ...]:
        """The nonces of other nodes that the next heartbeat repeats."""
        return self._runs.challenges.answers()

    def clock_of(self, name: str) -> float | None:
        """
        What the wall clock of a node shows now, as Unix time in seconds.

        ``None`` for a node whose heartbeats do not arrive: its clock may have been set since.
        """
        known = self._known.get(name)
        return None if known is None else self._runs.clock_of(known.heartbeat.run)

    def restore(self, messages: Iterable[bytes]) -> Sequence[str]:
        """
        Add nodes from their retained heartbeats, and return the ids of those that are out of date.

        Only their addresses are trusted: they are treated as cut off until their own heartbeats arrive.
        """
        out_of_date = []
        for message in messages:
            with suppress(InvalidHeartbeat):
                heartbeat = decode(message, self.secret)
                if self._is_out_of_date(heartbeat):
                    out_of_date.append(heartbeat.node.id)
                else:
                    self._restore(heartbeat)
        self._cut_off.replaced(self._addresses())
        return out_of_date

    def _is_out_of_date(self, heartbeat: Heartbeat) -> bool:
        return heartbeat.is_last or self._runs.is_over(heartbeat.run) or self._is_stale(heartbeat)

    def _is_stale(self, heartbeat: Heartbeat) -> bool:
        return abs(heartbeat.sent_at - self.seconds()) > MAX_AGE_S

    def _restore(self, heartbeat: Heartbeat) -> None:
        """Add it such that, whatever its clock says, there is time to ask it before it is forgotten."""
        age_s = self.seconds() - heartbeat.sent_at
        if self._is_unknown(heartbeat):
            self._cut_off.add(heartbeat, self.monotonic() - min(max(age_s, 0.0), FORGET_S - GIVE_UP_S))

    def _is_unknown(self, heartbeat: Heartbeat) -> bool:
        """Whether a node is not known yet, and there is room for it."""
        name = heartbeat.node.id
        return name != self.own and name not in self._known and name not in self._cut_off and self._has_room()

    def _addresses(self) -> set[str]:
        """The HTTP addresses of the nodes whose heartbeats arrive."""
        return {known.heartbeat.node.http for known in self._known.values()}

    def on_message(self, message: bytes) -> None:
        """Process a message from the bus, whoever sent it."""
        try:
            heartbeat = decode(message, self.secret)
            outcome = self._process(heartbeat)
        except InvalidHeartbeat as error:
            outcome = error.fault.value
            self._warn(error)
        self.metrics.node_messages.labels(outcome).inc()

    def _process(self, heartbeat: Heartbeat) -> str:
        """Process a heartbeat of a cluster node; return the outcome to count."""
        self._runs.record(heartbeat)
        self._note_bus_activity()
        if heartbeat.run == (self.own, self.boot):
            self._cut_off.replaced([heartbeat.node.http])
            return "own"
        self._runs.challenges.receive(heartbeat)
        self._expire()
        if heartbeat.is_last:
            self._remove(heartbeat)
        elif self._is_stale(heartbeat):
            raise InvalidHeartbeat.of(Fault.STALE, heartbeat)
        elif self._runs.is_current(heartbeat):
            return self._accept(heartbeat)
        else:
            self._challenge(heartbeat)
            return Fault.UNANSWERED.value
        return "heard"

    def _challenge(self, heartbeat: Heartbeat) -> None:
        """Challenge a run that may be a recording; until it answers, only its address is used."""
        self._runs.challenges.challenge(heartbeat)
        if self._is_unknown(heartbeat):
            self._cut_off.add(heartbeat, self.monotonic(), is_unverified=True)
            self._cut_off.replaced(self._addresses())

    def _accept(self, heartbeat: Heartbeat) -> str:
        """Process a heartbeat that is known to be current."""
        name = heartbeat.node.id
        if name == self.own:
            raise InvalidHeartbeat.of(Fault.DUPLICATE, heartbeat)
        known = self._known.get(name)
        if known is not None and known.heartbeat.boot != heartbeat.boot:
            known.is_contested = True
            return Fault.DUPLICATE.value
        if known is None and not self._has_room(name):
            raise InvalidHeartbeat.of(Fault.TOO_MANY, heartbeat)
        self._store(heartbeat, known)
        return "heard"

    def _store(self, heartbeat: Heartbeat, known: KnownNode | None) -> None:
        name = heartbeat.node.id
        self._known[name] = KnownNode(heartbeat, self.monotonic())
        self._known.move_to_end(name)
        self._changed()
        if known is None:
            self._log_arrival(heartbeat)
        elif known.is_contested:
            self._warn(InvalidHeartbeat.of(Fault.DUPLICATE, heartbeat))

    def _log_arrival(self, heartbeat: Heartbeat) -> None:
        """Log a node that is new, or back."""
        before = self._cut_off.remove(heartbeat.node.id)
        self._cut_off.replaced([heartbeat.node.http])
        if before is not None and before.is_logged and before.heartbeat.boot == heartbeat.boot:
            silent_s = self.monotonic() - before.seen_at
            self.log.info("node {id} is back after {s:.0f} s", id=heartbeat.node.id, s=silent_s)
        else:
            node = heartbeat.node
            self.log.info("node {id} joined: {role} at {http}", id=node.id, role=node.role, http=node.http)

    def _remove(self, heartbeat: Heartbeat) -> None:
        """Remove a node that said goodbye; of two runs with the same name, only the one that ended."""
        name = heartbeat.node.id
        self._runs.challenges.drop(heartbeat.run)
        cut_off, known = self._cut_off.get(name), self._known.get(name)
        if cut_off is not None and cut_off.heartbeat.boot == heartbeat.boot:
            self._cut_off.remove(name)
        elif known is not None and known.heartbeat.boot == heartbeat.boot:
            del self._known[name]
        else:
            return
        self._changed()
        self.log.info("node {id} left", id=name)

    def _has_room(self, name: str = "") -> bool:
        """Whether one more node fits; for ``name``, the node that was cut off longest is dropped if need be."""
        if len(self._known) + len(self._cut_off) < self.limit or name in self._cut_off:
            return True
        if name and self._cut_off:
            self._cut_off.remove_oldest()
            return True
        return False

    def _changed(self) -> None:
        self._alive = None

    def _note_bus_activity(self) -> None:
        """A message of the cluster arrived, so the bus works; if it was down, give the other nodes time to report."""
        now = self.monotonic()
        if now - self._received_at > BUS_SILENT_S:
            self._back_at = now
        self._received_at = now

    def _expire(self) -> None:
        """Move silent nodes to those that are cut off, unless the bus itself is silent."""
        now = self.monotonic()
        if not self.is_bus_healthy():
            self._back_at = now
        if now - self._received_at > BUS_SILENT_S or now - self._back_at <= SILENT_S:
            return
        self._cut_off_silent(now)
        self._cut_off.expire(now)

    def _cut_off_silent(self, now: float) -> None:
        silent = []
        while self._known and now - next(iter(self._known.values())).seen_at > SILENT_S:
            silent.append(self._known.popitem(last=False)[1])
        for known in silent:
            self._cut_off.add(known.heartbeat, known.seen_at)
        if silent:
            self._cut_off.replaced(self._addresses())

    def _warn(self, error: InvalidHeartbeat) -> None:
        now = self.monotonic()
        if now - self._warned_at.get(error.fault, float("-inf")) >= WARN_INTERVAL_S:
            self._warned_at[error.fault] = now
            self.log.warn("heartbeat dropped ({error}): {advice}", error=error, advice=ADVICE[error.fault])
