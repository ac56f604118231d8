"""
What one hostile peer costs a node: memory, processor time, and the latency of everybody else.

    python benchmarks/hostile.py [--scenario NAME ...] [--list] [--seconds N] [--daemon-set SECTION.KEY=VALUE ...]
                                 [--keep FOLDER]

For each scenario real daemons are started, of role ``all`` or, for names that are asked upstream, three and Redis; an
ffmpeg publishes, and 100 viewers ask for its playlist four times a second each. Then, in a process of its own, the
peer at 127.0.0.2 does what the scenario says. The daemons have one core, and all the others the other one, where the
peer is the one that waits. ``--scenario unfinished`` is all those whose names begin with ``unfinished/``.

RSS        resident memory in MiB: before, at most during the attack, when the peer has gone, and 10 s later
MiB each   by how much it grew at most, by the connections that the peer held at once
waited     the core had other work, of which there should be next to none: it is in all latencies
viewers    milliseconds from a request to its whole answer, before and during the attack; `failed` did not come within
           5 s, or were not 200, and count as `inf` in p50 and p99, but not in max
upstream   requests to upstream (livestream_upstream_requests_total), and TCP connections begun to origin and ingest
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from hostile_nodes import PLAYLIST, Connections, Node, Nodes, changed
from hostile_peer import Attack
from hostile_scenarios import SCENARIOS, Scenario
from rtmp_peers import LOAD_CORE, raise_limits

FOLDER = Path(__file__).parent
VIEWERS, VIEWER_RATE = 100, 4
SETTLE_S, BASELINE_S, GONE_S, LATER_S = 2.0, 5.0, 1.0, 10.0
UPSTREAM, LIMITS = "livestream_upstream_requests_total", "livestream_limits_hit_total"
HEADINGS = (
    "scenario",
    "held",
    "RSS MiB: before, peak, gone, 10 s later",
    "MiB each",
    "% of a core: used, waited for",
    "viewers before p50 / p99",
    "during p50 / p99 / max, failed",
    "upstream: requests, connections",
    "log KiB",
    "outcome for the peer",
)


@define(eq=False)
class Viewers:
    """The ordinary viewers, in a process of their own."""

    nodes: Nodes
    _process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        words = [*map(str, self.nodes.http), PLAYLIST, str(VIEWERS), str(VIEWER_RATE)]
        command = [sys.executable, str(FOLDER / "hostile_viewers.py"), *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def answers(self) -> list[tuple[float, float | None]]:
        """End them, and say when they asked, and how long each answer took."""
        out, _ = self._process.communicate(timeout=30)
        return [(asked_s, took_s) for asked_s, took_s in json.loads(out)]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@frozen
class Latency:
    """Of the viewers' answers within some time, in milliseconds; one that did not come took for ever."""

    p50: float
    p99: float
    most: float
    failed: int
    count: int

    @classmethod
    def within(cls, answers: Sequence[tuple[float, float | None]], begin_s: float, end_s: float) -> Latency:
        asked = [took_s for asked_s, took_s in answers if begin_s <= asked_s < end_s]
        failed = asked.count(None)
        took = sorted(math.inf if took_s is None else 1000 * took_s for took_s in asked) or [math.nan]
        p50, p99 = (took[int((len(took) - 1) * part)] for part in (0.5, 0.99))
        return cls(p50, p99, took[-1 - failed] if failed < len(asked) else math.nan, failed, len(asked))


@define(eq=False)
class Sample:
    """What all nodes have used and counted up to now."""

    nodes: Nodes
    at_s: float = field(factory=time.monotonic, init=False)
    cpu_s: dict[str, tuple[float, float]] = field(init=False)
    """What each node has run, and what it has waited for its core."""
    log_bytes: int = field(init=False)
    counts: dict[str, dict[str, float]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        named = self.nodes.nodes
        self.cpu_s = {name: (node.cpu_s(), node.waited_s()) for name, node in named.items()}
        self.log_bytes = sum(node.log_bytes() for node in named.values())
        self.counts = {
            metric: {
                f"{name}{labels}": value
                for name, node in named.items()
                for labels, value in node.counts(metric).items()
            }
            for metric in (UPSTREAM, LIMITS)
        }


def attacked(attack: Attack) -> dict[str, Any]:
    """Have the peer attack, and return what it has seen."""
    command = [sys.executable, str(FOLDER / "hostile_peer.py")]
    limit_s = attack.seconds + 60
    peer = subprocess.run(command, input=pickle.dumps(attack), stdout=subprocess.PIPE, timeout=limit_s, check=True)
    return dict(json.loads(peer.stdout))


@define(eq=False)
class Run:
    """One scenario on nodes that run."""

    scenario: Scenario
    nodes: Nodes
    attack: Attack
    remarks: list[str] = field(factory=list, init=False)
    seen: dict[str, Any] = field(init=False)
    """What the peer has seen."""
    memory: dict[str, list[float]] = field(init=False)
    before: Sample = field(init=False)
    after: Sample = field(init=False)
    begun: int | None = field(default=None, init=False)
    baseline: Latency = field(init=False)
    during: Latency = field(init=False)

    def run(self) -> None:
        """Watch the viewers, have the peer attack, and see what is left of it later."""
        viewers = Viewers(self.nodes)
        viewers.start()
        try:
            time.sleep(SETTLE_S)
            baseline_s = time.monotonic()
            time.sleep(BASELINE_S)
            self._attacked()
            time.sleep(GONE_S)
            answers = viewers.answers()
        finally:
            viewers.stop()
        self.baseline = Latency.within(answers, baseline_s, baseline_s + BASELINE_S)
        self.during = Latency.within(answers, self.seen["began_s"], self.seen["ended_s"])
        self._note(lambda node: [node.peak_mib(), node.memory_mib()])
        time.sleep(LATER_S)
        self._note(lambda node: [node.memory_mib()])
        self.remarks += [f"{name} died" for name, node in self.nodes.nodes.items() if not node.is_running]

    def _attacked(self) -> None:
        connections = Connections.to(self.nodes.upstream_ports)
        self.memory = {name: [node.memory_mib()] for name, node in self.nodes.nodes.items()}
        for node in self.nodes.nodes.values():
            node.forget_peak()
        self.before = Sample(self.nodes)
        connections.count()
        beside = threading.Thread(target=self._meanwhile, daemon=True)
        beside.start()
        self.seen = attacked(self.attack)
        self.after = Sample(self.nodes)
        self.begun = connections.count()
        beside.join(60)

    def _meanwhile(self) -> None:
        if self.scenario.meanwhile is not None:
            self.remarks.append(self.scenario.meanwhile(self.nodes, self.attack.seconds))

    def _note(self, sizes: Callable[[Node], list[float]]) -> None:
        for name, node in self.nodes.nodes.items():
            self.memory[name] += sizes(node)

    def cells(self) -> list[str]:
        """The row of the table, in the order of its headings."""
        before, after, baseline, during = self.before, self.after, self.baseline, self.during
        held, elapsed_s = self.seen["most_held"], after.at_s - before.at_s
        each = {name: (most - first) / max(held, 1) for name, (first, most, *_) in self.memory.items()}
        shares = {
            name: [100 * (now_s - then_s) / elapsed_s for now_s, then_s in zip(after.cpu_s[name], then, strict=True)]
            for name, then in before.cpu_s.items()
        }
        asked = sum(changed(before.counts[UPSTREAM], after.counts[UPSTREAM]).values())
        limits = changed(before.counts[LIMITS], after.counts[LIMITS])
        return [
            self.scenario.name,
            str(held),
            _by_node({name: ", ".join(f"{mib:.0f}" for mib in sizes) for name, sizes in self.memory.items()}),
            "-" if self.attack.returns else _by_node({name: f"{mib:.2f}" for name, mib in each.items()}),
            _by_node({name: f"{ran:.0f}, {waited:.0f}" for name, (ran, waited) in shares.items()}),
            f"{baseline.p50:.1f} / {baseline.p99:.1f}",
            f"{during.p50:.1f} / {during.p99:.1f} / {during.most:.0f}, {during.failed} of {during.count}",
            f"{asked:.0f}, {'unknown' if self.begun is None else self.begun}" if self.scenario.is_cluster else "-",
            f"{(after.log_bytes - before.log_bytes) / 1024:.1f}",
            "; ".join([got(self.seen), *(f"{name} {count:.0f}" for name, count in limits.items()), *self.remarks]),
        ]


def _by_node(texts: dict[str, str]) -> str:
    """What there is of each node, with its name if there are several."""
    return "; ".join(f"{name} {text}" if len(texts) > 1 else text for name, text in texts.items())


def got(seen: dict[str, Any]) -> str:
    """What became of the peer's connections, in words."""
    elapsed_s, lives = seen["ended_s"] - seen["began_s"], seen["lives_s"]
    words = [f"{seen['opened']} opened"]
    if seen["refused"]:
        words.append(f"{seen['refused']} refused")
    if lives:
        words.append(f"{len(lives)} closed after {lives[0]:.1f} to {lives[-1]:.1f} s")
    if seen["left"]:
        words.append(f"{seen['left']} answered ({seen['left'] / elapsed_s:.0f} a second)")
    if seen["held"]:
        words.append(f"{seen['held']} still there after {elapsed_s:.0f} s")
    words.append(f"{seen['sent_bytes'] / 2**20:.1f} MiB sent")
    words += [f"{name} x {count}" for name, count in seen["answers"].items() if "Connect.Success" not in name]
    return ", ".join(words)


def chosen(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names, or of the groups that are called so; all of them without a name."""
    unknown = [name for name in names if not any(_is_named(each, name) for each in SCENARIOS)]
    if unknown:
        raise SystemExit(f"no scenario is called {', '.join(unknown)}: see --list")
    return [each for each in SCENARIOS if not names or any(_is_named(each, name) for name in names)]


def _is_named(scenario: Scenario, name: str) -> bool:
    return scenario.name == name or scenario.name.startswith(f"{name}/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scenario", action="append", default=[], help="one of --list, or what one of them begins with"
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--seconds", type=float, help="how long each attack lasts; otherwise as long as is known of it")
    parser.add_argument("--daemon-set", action="append", default=[], help="a setting of all nodes, section.key=value")
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    args = parser.parse_args()
    scenarios = chosen(args.scenario)
    if args.list:
        print("\n".join(f"{each.name}  {each.seconds:g} s" for each in scenarios))
        return
    raise_limits()
    with suppress(OSError):  # on a machine with one core
        os.sched_setaffinity(0, {int(LOAD_CORE)})
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        for scenario in scenarios:
            folder = (args.keep.absolute() if args.keep else Path(name)) / scenario.name.replace("/", "-")
            folder.mkdir(parents=True)
            sets = [*scenario.sets, *args.daemon_set]
            with Nodes.running(folder, sets, is_cluster=scenario.is_cluster) as nodes:
                run = Run(scenario, nodes, scenario.attack(nodes, args.seconds or scenario.seconds))
                run.run()
            print(f"| {' | '.join(run.cells())} |", flush=True)


if __name__ == "__main__":
    main()
