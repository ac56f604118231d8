"""The other nodes: what each said last, for as long as it goes on saying something or, cut off, answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import ClassVar

from attrs import define, field, frozen
from twisted.logger import Logger

from livestream.cluster.cut_off import GIVE_UP_S, KNOWN_S, CutOffNodes
from livestream.cluster.messages import Fault, Heartbeat, InvalidHeartbeat, decode
from livestream.cluster.runs import FAR_S, Runs
from livestream.metrics import Metrics
from livestream.steering.nodes import Node

SILENT_S = 3.0
"""A node of which nothing was heard for so long is cut off from the bus."""
DEAF_S = 1.5
"""When nothing at all was heard for so long, not even ourselves, it is the bus that is away, and not the others."""
COMPLAIN_S = 60.0
WORDS = {
    Fault.UNSIGNED: "it has no signature; look who else writes to this Redis",
    Fault.ALTERED: "its signature is not of our secret; give every node the same cluster.secret",
    Fault.VERSION: "it is of another version; upgrade the nodes that are older",
    Fault.IMPOSSIBLE: "it makes no sense; look which node does not run this program",
    Fault.STALE: "it was sent a quarter of an hour ago or ahead, or more; set the clocks of both nodes",
    Fault.UNANSWERED: (
        "it does not answer what is asked of it on the bus: it is a recording, or that node does not hear Redis; look "
        "at its log, and who else writes to this Redis"
    ),
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


@frozen
class LastHeard:
    """
    What a node said last, and how many seconds ago.

    ``answered_age_s`` is how many seconds ago one that is cut off has answered a request; ``None``: it has not.
    """

    heartbeat: Heartbeat
    age_s: float
    is_cut_off: bool = False
    answered_age_s: float | None = None


@define(eq=False)
class Nodes:
    """
    The nodes that live, without ourselves, who are ``own`` in our run ``boot``.

    One that falls silent with no goodbye is cut off from the bus, and stays while it answers. So does one that is heard
    and has not proven that it is no recording: it is asked where it says it is, and nothing else of it is believed.
    When they were heard is told by ``monotonic``; their clocks and ours, ``seconds``, may be wrong. While the bus is
    away, and ``SILENT_S`` longer, the last picture holds. ``most`` bounds it.
    """

    own: str
    boot: int
    secret: str = field(repr=False)
    is_bus_healthy: Callable[[], bool]
    monotonic: Callable[[], float]
    seconds: Callable[[], float]
    metrics: Metrics
    most: int = 10_000
    _known: OrderedDict[str, Known] = field(factory=OrderedDict, init=False)
    _cut_off: CutOffNodes = field(init=False)
    _runs: Runs = field(init=False)
    _alive: Sequence[Node] | None = field(default=None, init=False)
    _heard_at: float = field(default=float("-inf"), init=False)
    _back_at: float = field(default=float("-inf"), init=False)
    _complained_at: dict[Fault, float] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._cut_off = CutOffNodes(self._changed)
        self._runs = Runs(self.monotonic, self.most)

    def alive(self) -> Sequence[Node]:
        """The nodes that are heard, as they said last, and then those that are cut off and not given up."""
        self._expire()
        if self._alive is None:
            heard = [known.heartbeat.node for known in self._known.values()]
            self._alive = (*heard, *(each.node for each in self._cut_off.in_use()))
        return self._alive

    def reachable(self) -> Sequence[Node]:
        """The nodes that have not said goodbye and were heard, or have answered, within ten minutes, by their ids."""
        self._expire()
        heard = (known.heartbeat.node for known in self._known.values())
        return sorted([*heard, *self._cut_off.known()], key=lambda node: node.id)

    def heard_last(self) -> Sequence[LastHeard]:
        """What those that live said last."""
        self._expire()
        now = self.monotonic()
        heard = [LastHeard(known.heartbeat, now - known.heard_at) for known in self._known.values()]
        for each in self._cut_off.in_use():
            answered_age_s = None if each.answered_at is None else now - each.answered_at
            heard.append(LastHeard(each.heartbeat, now - each.heard_at, True, answered_age_s))
        return heard

    def answered(self, url: str) -> None:
        """A node has answered a request of ours at ``url``, its HTTP or its RTMP address."""
        if self._cut_off:
            self._cut_off.answered(url, self.monotonic())

    def did_not_answer(self, url: str) -> None:
        """A node was asked at ``url`` in vain."""
        if self._cut_off:
            self._cut_off.did_not_answer(url, self.monotonic())

    def nonce(self) -> str:
        """What our next message asks of the others, if anything; those that have not answered are complained of."""
        for heartbeat in self._runs.challenges.unanswered():
            self._complain(InvalidHeartbeat.of(Fault.UNANSWERED, heartbeat))
        return self._runs.challenges.nonce()

    def answers(self) -> tuple[str, ...]:
        """What our next message answers to others."""
        return self._runs.challenges.answers()

    def clock_of(self, name: str) -> float | None:
        """
        What the wall clock of a node shows now, as Unix time in seconds.

        ``None`` for one that is not heard: its clock may have been set since.
        """
        known = self._known.get(name)
        return None if known is None else self._runs.clock_of(known.heartbeat.run)

    def restore(self, messages: Iterable[bytes]) -> Sequence[str]:
        """
        Take in what was kept of nodes that may not be heard at present; the ids of those that are out of date.

        It is believed only so far that such a node is asked where it says.
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
        return heartbeat.is_last or self._runs.is_over(heartbeat.run) or self._is_far(heartbeat)

    def _is_far(self, heartbeat: Heartbeat) -> bool:
        return abs(heartbeat.sent_at - self.seconds()) > FAR_S

    def _restore(self, heartbeat: Heartbeat) -> None:
        """Whatever its clock says, there is time to ask it."""
        age_s = self.seconds() - heartbeat.sent_at
        if self._is_unknown(heartbeat):
            self._cut_off.add(heartbeat, self.monotonic() - min(max(age_s, 0.0), KNOWN_S - GIVE_UP_S))

    def _is_unknown(self, heartbeat: Heartbeat) -> bool:
        """Whether nothing is known of a node, and there is room for one more."""
        name = heartbeat.node.id
        return name != self.own and name not in self._known and name not in self._cut_off and self._has_room()

    def _addresses(self) -> set[str]:
        """Where those that are heard answer HTTP."""
        return {known.heartbeat.node.http for known in self._known.values()}

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
        self._runs.count(heartbeat)
        self._listening()
        if heartbeat.run == (self.own, self.boot):
            self._cut_off.replaced([heartbeat.node.http])
            return "own"
        self._runs.challenges.owe(heartbeat)
        self._expire()
        if heartbeat.is_last:
            self._forget(heartbeat)
        elif self._is_far(heartbeat):
            raise InvalidHeartbeat.of(Fault.STALE, heartbeat)
        elif self._runs.is_new(heartbeat):
            return self._believe(heartbeat)
        else:
            self._ask(heartbeat)
            return Fault.UNANSWERED.value
        return "heard"

    def _ask(self, heartbeat: Heartbeat) -> None:
        """A node is heard that may be of another time: only where it is found is taken from what it says."""
        self._runs.challenges.ask(heartbeat)
        if self._is_unknown(heartbeat):
            self._cut_off.add(heartbeat, self.monotonic(), is_heard=True)
            self._cut_off.replaced(self._addresses())

    def _believe(self, heartbeat: Heartbeat) -> str:
        """Take in what a node says now."""
        name = heartbeat.node.id
        if name == self.own:
            raise InvalidHeartbeat.of(Fault.DUPLICATE, heartbeat)
        known = self._known.get(name)
        if known is not None and known.heartbeat.boot != heartbeat.boot:
            known.is_contested = True
            return Fault.DUPLICATE.value
        if known is None and not self._has_room(name):
            raise InvalidHeartbeat.of(Fault.TOO_MANY, heartbeat)
        self._keep(heartbeat, known)
        return "heard"

    def _keep(self, heartbeat: Heartbeat, known: Known | None) -> None:
        name = heartbeat.node.id
        self._known[name] = Known(heartbeat, self.monotonic())
        self._known.move_to_end(name)
        self._changed()
        if known is None:
            self._greet(heartbeat)
        elif known.is_contested:
            self._complain(InvalidHeartbeat.of(Fault.DUPLICATE, heartbeat))

    def _greet(self, heartbeat: Heartbeat) -> None:
        """A node is heard that was not heard before, or not any more."""
        before = self._cut_off.remove(heartbeat.node.id)
        self._cut_off.replaced([heartbeat.node.http])
        if before is not None and before.is_logged and before.heartbeat.boot == heartbeat.boot:
            silent_s = self.monotonic() - before.heard_at
            self.log.info("node {id} is heard again, after {s:.0f} s", id=heartbeat.node.id, s=silent_s)
        else:
            node = heartbeat.node
            self.log.info("node {id} is there: {role} at {http}", id=node.id, role=node.role, http=node.http)

    def _forget(self, heartbeat: Heartbeat) -> None:
        """A node has said goodbye. Of two runs that had its name, only the one that ends is forgotten."""
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
        self.log.info("node {id} has left", id=name)

    def _has_room(self, name: str = "") -> bool:
        """Whether one more may be known; the first that was cut off is forgotten for ``name``, which is heard."""
        if len(self._known) + len(self._cut_off) < self.most or name in self._cut_off:
            return True
        if name and self._cut_off:
            self._cut_off.remove_oldest()
            return True
        return False

    def _changed(self) -> None:
        self._alive = None

    def _listening(self) -> None:
        """Something of ours was heard, so the bus is there; if it was not, the others get time to speak."""
        now = self.monotonic()
        if now - self._heard_at > DEAF_S:
            self._back_at = now
        self._heard_at = now

    def _expire(self) -> None:
        """Find those that have fallen silent, while it is not the bus that has."""
        now = self.monotonic()
        if not self.is_bus_healthy():
            self._back_at = now
        if now - self._heard_at > DEAF_S or now - self._back_at <= SILENT_S:
            return
        self._cut_off_silent(now)
        self._cut_off.look(now)

    def _cut_off_silent(self, now: float) -> None:
        silent = []
        while self._known and now - next(iter(self._known.values())).heard_at > SILENT_S:
            silent.append(self._known.popitem(last=False)[1])
        for known in silent:
            self._cut_off.add(known.heartbeat, known.heard_at)
        if silent:
            self._cut_off.replaced(self._addresses())

    def _complain(self, error: InvalidHeartbeat) -> None:
        now = self.monotonic()
        if now - self._complained_at.get(error.fault, float("-inf")) >= COMPLAIN_S:
            self._complained_at[error.fault] = now
            words = "a message about a node is dropped ({error}): {words}"
            self.log.warn(words, error=error, words=WORDS[error.fault])
