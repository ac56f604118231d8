"""All of it together for one run: the cluster, its encoders and the verifier, and faults as methods."""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define, field, frozen

from tests.lab.nodes import FULL, HOSTS, LabNode, Topology
from tests.lab.outcome import Outcome, outcome_of
from tests.lab.proxy import Link, LinkFault, Proxy
from tests.lab.publishers import Encoder, encoded
from tests.lab.redis import LabRedis
from tests.lab.verifier import Verifier
from tests.system.processes import until

WINDOW_S = 18
"""As long as six segments of three seconds, the defaults."""
BEGIN_SEGMENTS, SETTLE_SEGMENTS = 3, 3
BEGIN_S, SETTLE_S = 60.0, 45.0
DOWN_S = 2.0


@frozen
class Plan:
    """What one run is made with."""

    seed: int
    folder: Path
    topology: Topology = FULL
    segment_s: int = 1
    streams: int = 2
    moves: int = 6
    """How often a publisher moves, or comes back, in one run."""
    seconds: float | None = None
    """How long faults last; none: each as long as it is known for."""
    media: Path | None = None
    """A folder for the media, which several runs can share; none: that of the run."""


@define(eq=False)
class Laboratory:
    """A running cluster with one encoder for each stream, and the verifier."""

    plan: Plan
    dice: random.Random = field(init=False)
    proxy: Proxy = field(init=False)
    redis: LabRedis = field(init=False)
    nodes: dict[str, LabNode] = field(factory=dict, init=False)
    encoders: dict[str, Encoder] = field(factory=dict, init=False)
    verifier: Verifier = field(init=False)
    remarks: list[str] = field(factory=list, init=False)
    _stack: ExitStack = field(factory=ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        self.dice, self.proxy = random.Random(self.plan.seed), Proxy(self.plan.seed)
        self.redis = LabRedis.of(self.plan.folder, f"{HOSTS['redis']}.1")

    @contextmanager
    def running(self) -> Iterator[Laboratory]:
        """Start everything, and wait until every edge lists every stream; end it all afterwards."""
        with self._stack:
            self._stack.enter_context(self.proxy.running())
            self._stack.enter_context(self.redis.running())
            self._start_nodes()
            self._start_encoders()
            edges = {node.id: node.http for node in self.of_role("edge")}
            self.verifier = self._stack.enter_context(Verifier(edges, list(self.encoders)).watching())
            self._await_growth(0.0, BEGIN_SEGMENTS, BEGIN_S)
            yield self

    def _start_nodes(self) -> None:
        segments = self.plan.segment_s, round(WINDOW_S / self.plan.segment_s)
        more = [f"hls.segment_s={segments[0]}", f"hls.window={segments[1]}"]
        for name in self.plan.topology.ids():
            node = LabNode(name, self.redis.address, self.proxy, self.plan.folder, more)
            self.nodes[name] = node
            node.daemon.start()
            self._stack.callback(node.kill)
        for node in self.nodes.values():
            node.await_ready()

    def _start_encoders(self) -> None:
        ingests = self.of_role("ingest")
        for number in range(self.plan.streams):
            encoder = self.encoder(f"show{number + 1}", f"show{number + 1}")
            self.encoders[encoder.name] = encoder
            encoder.publish(ingests[number % len(ingests)].id)

    def encoder(self, name: str, stream: str) -> Encoder:
        """An encoder, which ends with the run."""
        urls = {node.id: node.publish_url(stream) for node in self.of_role("ingest")}
        media = encoded(self.plan.media or self.plan.folder, self.plan.segment_s)
        dice = random.Random(f"{self.plan.seed} {name}")
        encoder = Encoder(name, media, urls, self.plan.folder, dice)
        return self._stack.enter_context(encoder.running())

    # Who is there

    def of_role(self, role: str) -> list[LabNode]:
        return [node for node in self.nodes.values() if node.role == role]

    def any_of(self, role: str) -> LabNode:
        return self.dice.choice(self.of_role(role))

    def any_encoder(self) -> Encoder:
        return self.encoders[self.dice.choice(list(self.encoders))]

    def lasts(self, seconds: float) -> float:
        """How long a fault lasts that is known for so many seconds."""
        return seconds if self.plan.seconds is None else self.plan.seconds

    def pause(self, low_s: float, high_s: float) -> None:
        time.sleep(self.dice.uniform(low_s, high_s))

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    # What can happen to nodes

    @contextmanager
    def away(self, node: LabNode) -> Iterator[None]:
        """Expect nothing of a node, if it is an edge, within a ``with``."""
        if node.role != "edge":
            yield
            return
        self.verifier.expect_edge(node.id, False)
        yield
        self.verifier.expect_edge(node.id, True)

    def kill_and_restart(self, node: LabNode) -> None:
        self.remark(f"{node.id} killed")
        with self.away(node):
            node.kill()
            time.sleep(self.lasts(DOWN_S))
            node.start()
            node.await_ready()

    def stop_and_continue(self, node: LabNode, seconds: float) -> None:
        self.remark(f"{node.id} stopped for {seconds:g} s")
        with self.away(node):
            node.signal(signal.SIGSTOP)
            time.sleep(seconds)
            node.signal(signal.SIGCONT)

    def drain_and_restart(self, node: LabNode, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.remark(f"{node.id} drained")
        with self.away(node):
            node.drain()
            meanwhile()
            node.await_end()
            node.start()
            node.await_ready()

    # What can happen to links and encoders

    @contextmanager
    def fault(self, fault: LinkFault, *links: Link) -> Iterator[None]:
        self.remark(f"{', '.join(link.name for link in links)}: {fault}")
        with self.proxy.applied(fault, *links):
            yield

    def move(self, encoder: Encoder, pause_s: float = 0.0) -> None:
        """Let an encoder go on at another ingest."""
        self.go_on(encoder, self.dice.choice(encoder.other_places()), pause_s)

    def go_on(self, encoder: Encoder, place: str, pause_s: float = 0.0) -> None:
        """Let an encoder go on at an ingest after a pause; without one it is expected to be there all the time."""
        if pause_s:
            self.verifier.expect_media(encoder.name, False)
            encoder.stop()
            time.sleep(pause_s)
            self.verifier.expect_media(encoder.name, True)
        encoder.publish(place)

    # What has become of it

    def settle(self) -> Outcome:
        """Wait until every list grows again, and say what the run has shown."""
        ended_s = time.monotonic()
        failures = []
        if not self._await_growth(ended_s, SETTLE_SEGMENTS, SETTLE_S, must=False):
            failures.append(f"not every list grew by {SETTLE_SEGMENTS} within {SETTLE_S:g} s")
        first = [growths[0] - ended_s if growths else math.inf for growths in self.verifier.growths_since(ended_s)]
        self.verifier.finish()
        (self.plan.folder / "listed.log").write_text("\n".join(self.verifier.lines()))
        failures += self._node_failures()
        return outcome_of(self.verifier, max(first), failures=failures, remarks=self.remarks)

    def _node_failures(self) -> Iterator[str]:
        for node in self.nodes.values():
            if not node.is_running:
                yield f"{node.id} has died"
            if count := node.daemon.words().count("Traceback (most recent call last)"):
                yield f"{node.id} logged {count} tracebacks"

    def _await_growth(self, begin_s: float, segments: int, seconds: float, *, must: bool = True) -> bool:
        grown = lambda: all(len(growths) >= segments for growths in self.verifier.growths_since(begin_s))  # noqa: E731
        try:
            return bool(until(grown, f"{segments} segments on every edge", seconds))
        except AssertionError:
            if must:
                raise
            return False
