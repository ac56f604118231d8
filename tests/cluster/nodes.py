"""What the tests of the cluster share: a node, what it says, and somebody who hears it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import attrs
from attrs import define, field
from twisted.internet.task import Clock

from livestream.cluster.cut_off import CutOffNodes
from livestream.cluster.messages import Heartbeat, encode
from livestream.cluster.nodes import Nodes
from livestream.metrics import Metrics
from livestream.steering.nodes import Load, Node, NodeState
from tests.logs import observed

SECRET = "a secret of the cluster"
NOW = 1_799_999_000.0
OWN_BOOT = 42


@define(eq=False)
class Process:
    """
    One run of a node, somewhere else; its clock is ``clock_s`` ahead.

    It answers with everything that it says, if that is new, what ``asked`` has it asked; or nothing, if it ``is_deaf``.
    """

    node: Node
    boot: int
    clock: Clock
    asked: Callable[[], str]
    clock_s: float = 0.0
    is_deaf: bool = False
    sequence: int = 0

    def says(self, *, secret: str = SECRET, is_last: bool = False, nonce: str = "") -> bytes:
        self.sequence += 1
        sent_at = NOW + self.clock.seconds() + self.clock_s
        answers = () if self.is_deaf else (self.asked(),)
        heartbeat = Heartbeat(
            self.node, self.boot, self.sequence, sent_at, is_last=is_last, nonce=nonce, answers=answers
        )
        return encode(heartbeat, secret)

    def becomes(self, state: NodeState) -> None:
        self.node = attrs.evolve(self.node, state=state)

    def carries(self, load: Load) -> None:
        self.node = attrs.evolve(self.node, load=load)


@define(eq=False)
class Scene:
    """We are ``edge-1``, and hear what the test has others say; our own messages come back to us each second."""

    most: int = 100
    is_bus_healthy: bool = True
    is_deaf: bool = False
    clock: Clock = field(factory=Clock)
    metrics: Metrics = field(factory=Metrics)
    speaking: list[Process] = field(factory=list)
    lines: list[str] = field(factory=list)
    own: Process = field(init=False)
    nodes: Nodes = field(init=False)
    _stack: ExitStack = field(factory=ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        self.own = self.process("edge-1", OWN_BOOT)
        self.nodes = Nodes(
            "edge-1",
            OWN_BOOT,
            SECRET,
            lambda: self.is_bus_healthy,
            self.clock.seconds,
            lambda: NOW + self.clock.seconds(),
            self.metrics,
            self.most,
        )

    def __enter__(self) -> Scene:
        self._stack.enter_context(observed(self._log))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _log(self, event: dict[str, object]) -> None:
        if isinstance(event.get("log_source"), Nodes | CutOffNodes):
            self.lines.append(str(event["log_format"]).format(**event))

    def process(self, name: str, boot: int = 1, host: str = "", clock_s: float = 0.0) -> Process:
        """A run of the node ``name``, which says where it is: ``edge-2`` at 127.0.0.2, if nothing else is said."""
        role, _, number = name.partition("-")
        host = host or f"127.0.0.{number}"
        node = Node(name, role, f"http://{host}:8080", f"rtmp://{host}:1935")
        return Process(node, boot, self.clock, self.asks, clock_s)

    def asks(self) -> str:
        """A nonce of ours that has just been drawn."""
        return self.nodes._runs.challenges.draw()

    def fall_silent(self, *processes: Process) -> None:
        """Have these say nothing from here on, until they are cut off."""
        for process in processes:
            self.speaking.remove(process)
        self.pass_s(4)

    def speak(self, *processes: Process) -> None:
        """Have these say something every second from here on, and now."""
        self.speaking += processes
        for process in processes:
            self.nodes.on_message(process.says())

    def pass_s(self, seconds: float, step_s: float = 0.25) -> None:
        """Let time pass; every whole second each says something, and who asks about the nodes asks often."""
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            if self.clock.seconds() % 1 == 0:
                for process in [self.own, *self.speaking]:
                    message = process.says()
                    if not self.is_deaf:
                        self.nodes.on_message(message)
            self.alive()

    def alive(self) -> list[str]:
        return [node.id for node in self.nodes.alive()]

    def heard(self) -> list[str]:
        return [node.id for node in self.nodes.alive() if node.state is not NodeState.CUT_OFF]

    def cut_off(self) -> list[str]:
        return [node.id for node in self.nodes.alive() if node.state is NodeState.CUT_OFF]

    def count(self, outcome: str) -> int:
        value = self.metrics.registry.get_sample_value("livestream_node_messages_total", {"outcome": outcome})
        return int(value or 0)

    def said(self, words: str) -> int:
        return sum(words in line for line in self.lines)
