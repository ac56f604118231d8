"""Whole nodes on one bus, each with a wall clock of its own, and somebody who records all that is said."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.task import Clock

from livestream.bus.memory import MemoryBus
from livestream.cluster.heartbeat import PERIOD_S, HeartbeatSender
from livestream.cluster.load import LoadMeter
from livestream.cluster.membership import Membership
from livestream.cluster.nodes import Nodes
from livestream.metrics import Metrics
from livestream.steering.nodes import Node, NodeState
from tests.cluster.nodes import NOW, SECRET

CHANNEL = "nodes"


@define(eq=False)
class Member:
    """A run of the node ``name``, whose wall clock is ``clock_s`` ahead; one that ``is_deaf`` hears nothing."""

    name: str
    boot: int
    bus: MemoryBus
    clock: Clock
    clock_s: float = 0.0
    is_deaf: bool = False
    metrics: Metrics = field(factory=Metrics)
    nodes: Nodes = field(init=False)
    heartbeats: HeartbeatSender = field(init=False)

    def __attrs_post_init__(self) -> None:
        role, _, number = self.name.partition("-")
        own = Node(self.name, role, f"http://127.0.0.{number}:8080")
        monotonic = self.clock.seconds
        self.nodes = Nodes(
            self.name, self.boot, SECRET, lambda: not self.is_deaf, monotonic, lambda: self.seconds, self.metrics
        )
        meter = LoadMeter(PERIOD_S, self.metrics, monotonic)
        members = Membership(own, self.nodes)
        self.heartbeats = HeartbeatSender(members, lambda message: self.bus.send(CHANNEL, message), meter, list)
        self.bus.subscribe(CHANNEL, self.hear)

    @property
    def seconds(self) -> float:
        return NOW + self.clock.seconds() + self.clock_s

    def hear(self, message: bytes) -> None:
        if not self.is_deaf:
            self.nodes.on_message(message)

    def believed(self) -> list[str]:
        """The others that it believes, as they say they are."""
        return sorted(node.id for node in self.nodes.alive() if node.state is not NodeState.CUT_OFF)

    def tried(self) -> list[str]:
        """The others that are asked at their addresses."""
        return sorted(node.id for node in self.nodes.alive() if node.state is NodeState.CUT_OFF)

    def counted(self, outcome: str) -> int:
        value = self.metrics.registry.get_sample_value("livestream_node_messages_total", {"outcome": outcome})
        return int(value or 0)


@define(eq=False)
class Members:
    """Some nodes, which speak every second, one after the other, and a recording of what they say."""

    bus: MemoryBus = field(factory=MemoryBus)
    clock: Clock = field(factory=Clock)
    running: list[Member] = field(factory=list)
    recording: list[bytes] = field(factory=list)
    boots: int = 0

    def __attrs_post_init__(self) -> None:
        self.bus.subscribe(CHANNEL, self.recording.append)

    def start(self, name: str, clock_s: float = 0.0) -> Member:
        self.boots += 1
        self.running.append(Member(name, self.boots, self.bus, self.clock, clock_s))
        return self.running[-1]

    def kill(self, *members: Member) -> None:
        for member in members:
            member.is_deaf = True
            self.running.remove(member)

    def pass_s(self, seconds: int) -> None:
        """Let time pass; all speak every second, each at a moment of its own within it."""
        for _ in range(seconds):
            for member in list(self.running):
                self.clock.advance(PERIOD_S / len(self.running))
                member.heartbeats.tick()

    def replay(self, messages: Sequence[bytes]) -> None:
        for message in list(messages):
            self.bus.send(CHANNEL, message)
