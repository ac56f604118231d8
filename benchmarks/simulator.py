"""
A million viewers in a stampede over 200 edges in 20 regions, on paper: no sockets, and the same result every time.

    python benchmarks/simulator.py [--viewers 1000000] [--seconds 180] [--delay-s 1] [--seed 1] [--lose-region]
                                   [--plot FILE]

The choice of an edge is the real ``livestream.steering``, and what edges list and fetch comes from the real
``livestream.packaging.window``. Twelve edges fail and return, and with ``--lose-region`` all of one region
do at once; what is known of loads is up to ``--delay-s`` old, and of failures three seconds; one announcement in a
hundred is lost on its way to an edge. Two other policies see the same: the nearest edge whatever its load, and each
edge in turn.

Viewers come in cohorts, who decide as one. ``--plot`` needs matplotlib.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import define, evolve, field, frozen

from livestream.model.names import SOURCE
from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from livestream.packaging.window import Window
from livestream.steering.balance import Balance, Viewer
from livestream.steering.geo import distance_km
from livestream.steering.nodes import Load, Location, Node

CITIES = (
    (40.7, -74.0), (34.1, -118.2), (41.9, -87.6), (25.8, -80.2), (19.4, -99.1), (-23.6, -46.6), (-34.6, -58.4),
    (51.5, -0.1), (50.1, 8.7), (40.4, -3.7), (59.3, 18.1), (52.2, 21.0), (41.0, 29.0), (30.0, 31.2), (-26.2, 28.0),
    (19.1, 72.9), (1.35, 103.8), (22.3, 114.2), (35.7, 139.7), (-33.9, 151.2),
)  # fmt: skip
EDGES_PER_REGION = 10
NAMES = [f"edge-{number:03}" for number in range(len(CITIES) * EDGES_PER_REGION)]
BITRATE_BPS = 3e6
CAPACITY_MBPS = 20_000.0
FITS = int(CAPACITY_MBPS * 1e6 / BITRATE_BPS)
"""How many viewers an edge can serve."""

STAMPEDE_S = 60
ASK_AGAIN_S = 10
EXPIRY_S = 3
SEGMENT_S = 3
LENGTH = 6
LOSS = 0.01
REACH_KM = 2500.0
NEAR_KM = 50.0
HAS_ROOM = 0.9
INFO = RenditionInfo(SOURCE, "avc1.64002a,mp4a.40.2", 3_000_000, 3_000_000, 1280, 720, 30.0)
COLUMNS = (
    "policy", "highest load", "p99", "at nearest with room", "mean km", "moves each", "s over", "s over, avoidable",
    "origin requests a segment, median / most", "not one per edge",
)  # fmt: skip


@define(eq=False)
class Edge:
    """An edge as it really is. ``fetched`` is what it has asked an origin for in this life."""

    id: str
    region: str
    place: Location
    viewers: int = 0
    is_up: bool = True
    down_since_s: int = 0
    window: Window = field(factory=lambda: Window("show", LENGTH))
    fetched: set[str] = field(factory=set)

    @property
    def share(self) -> float:
        return self.viewers / FITS

    def node(self, viewers: int) -> Node:
        """What others know of it."""
        load = Load(viewers, viewers / SEGMENT_S, viewers * BITRATE_BPS)
        url = f"http://{self.id}.example:80"
        return Node(
            self.id, "edge", url, region=self.region, location=self.place, capacity_mbps=CAPACITY_MBPS, load=load
        )


@define(eq=False)
class Cohort:
    """So many viewers who do the same. ``near`` are the numbers of all edges with their distances, nearest first."""

    key: str
    place: Location
    arrives_s: int
    size: int
    near: list[tuple[float, int]]
    at: Edge | None = None
    moves: int = 0


@frozen
class World:
    edges: list[Edge]
    cohorts: list[Cohort]
    faults: list[tuple[int, int, list[int]]]
    """From when to when which edges are down."""

    def anew(self) -> World:
        """The same before anything has happened in it."""
        edges = [Edge(edge.id, edge.region, edge.place) for edge in self.edges]
        cohorts = [Cohort(old.key, old.place, old.arrives_s, old.size, old.near) for old in self.cohorts]
        return World(edges, cohorts, self.faults)


class Policy(Protocol):
    def order(self, cohort: Cohort, picture: Sequence[Node]) -> list[Node]: ...


@define(eq=False)
class Steering:
    balance: Balance = field(factory=Balance)

    def order(self, cohort: Cohort, picture: Sequence[Node]) -> list[Node]:
        current = cohort.at.id if cohort.at is not None else ""
        return self.balance.order(Viewer(cohort.place, current=current, key=cohort.key), picture)


class Nearest:
    def order(self, cohort: Cohort, picture: Sequence[Node]) -> list[Node]:
        known = {node.id: node for node in picture}
        return [known[NAMES[number]] for _, number in cohort.near if NAMES[number] in known]


@define(eq=False)
class RoundRobin:
    turn: int = 0

    def order(self, cohort: Cohort, picture: Sequence[Node]) -> list[Node]:
        here = [node for node in picture if cohort.at is not None and node.id == cohort.at.id]
        self.turn += 1
        start = self.turn % len(picture)
        return [*here, *picture[start:], *picture[:start]]


@define(eq=False)
class Seen:
    """What one policy came to."""

    shares: list[list[float]] = field(factory=list)
    near: list[float] = field(factory=list)
    over_s: int = 0
    over_avoidable_s: int = 0
    moves: int = 0
    requests: Counter[str] = field(factory=Counter)
    asked: defaultdict[str, set[tuple[str, int]]] = field(factory=lambda: defaultdict(set))
    km: float = 0.0

    def row(self, viewers: int) -> tuple[str, ...]:
        """Its line of the table."""
        flat = sorted(share for shares in self.shares for share in shares if not math.isnan(share))
        per_segment = sorted(self.requests.values())
        more = sum(self.requests[name] != len(edges) for name, edges in self.asked.items())
        return (
            f"{flat[-1]:.2f}",
            f"{flat[len(flat) * 99 // 100]:.2f}",
            f"{statistics.mean(self.near):.1%}",
            f"{self.km:,.0f}",
            f"{self.moves / viewers:.2f}",
            f"{self.over_s}",
            f"{self.over_avoidable_s}",
            f"{statistics.median(per_segment):.0f} / {per_segment[-1]}",
            f"{more}",
        )


def world(viewers: int, size: int, seconds: int, seed: int, loses_region: bool) -> World:
    """Edges and viewers scattered round cities, more viewers round some than their edges can serve."""
    chance = random.Random(seed)
    edges = [
        Edge(
            NAMES[number], f"region-{number // EDGES_PER_REGION}", _near(CITIES[number // EDGES_PER_REGION], 2, chance)
        )
        for number in range(len(CITIES) * EDGES_PER_REGION)
    ]
    demand = [chance.uniform(0.5, 1.5) for _ in CITIES]
    cohorts = []
    for number in range(viewers // size):
        place = _near(chance.choices(CITIES, demand)[0], 4, chance)
        arrives_s = min(STAMPEDE_S - 1, int(chance.gammavariate(3, STAMPEDE_S / 12)))
        near = sorted((distance_km(place, edge.place), index) for index, edge in enumerate(edges))
        cohorts.append(Cohort(f"viewer-{number}", place, arrives_s, size, near))
    alone = [
        (at_s, at_s + 25, [chance.randrange(len(edges))]) for at_s in chance.choices(range(20, seconds - 40), k=12)
    ]
    lost = chance.randrange(len(CITIES)) * EDGES_PER_REGION
    region = (seconds // 2, seconds // 2 + 30, list(range(lost, lost + EDGES_PER_REGION)))
    return World(edges, cohorts, [*alone, region] if loses_region else alone)


def _near(city: tuple[float, float], degrees: float, chance: random.Random) -> Location:
    latitude, longitude = (chance.gauss(middle, degrees / 2) for middle in city)
    return Location(max(-90.0, min(90.0, latitude)), longitude)


@define(eq=False)
class Run:
    """One policy in one world, second by second."""

    world: World
    policy: Policy
    delay_s: int
    chance: random.Random
    seen: Seen = field(factory=Seen)
    origin: Window = field(factory=lambda: Window("show", LENGTH))
    _up: dict[str, Edge] = field(factory=dict, init=False)
    _past: deque[list[Node]] = field(factory=deque)

    def run(self, seconds: int) -> Seen:
        arrived: list[Cohort] = []
        for now_s in range(seconds):
            self._fail(now_s)
            self._past.append(self._picture(now_s))
            picture = self._past[0]
            if len(self._past) >= self.delay_s:
                self._past.popleft()
            arrived += [cohort for cohort in self.world.cohorts if cohort.arrives_s == now_s]
            for cohort in arrived:
                is_lost = cohort.at is not None and not cohort.at.is_up
                if (now_s - cohort.arrives_s) % (SEGMENT_S if is_lost else ASK_AGAIN_S) == 0:
                    self._choose(cohort, picture)
            if now_s % SEGMENT_S == 0:
                self._segment(now_s // SEGMENT_S)
            self._note(now_s, arrived)
        self.seen.moves = sum(cohort.moves * cohort.size for cohort in arrived)
        self.seen.km = statistics.mean(distance_km(cohort.place, cohort.at.place) for cohort in arrived if cohort.at)
        return self.seen

    def _fail(self, now_s: int) -> None:
        down = {
            number
            for since_s, until_s, numbers in self.world.faults
            if since_s <= now_s < until_s
            for number in numbers
        }
        for number, edge in enumerate(self.world.edges):
            if edge.is_up and number in down:
                edge.is_up, edge.down_since_s = False, now_s
            elif not edge.is_up and number not in down:
                edge.is_up, edge.window, edge.fetched = True, Window("show", LENGTH), set()
                edge.window.apply(self.origin.announcements())
        self._up = {edge.id: edge for edge in self.world.edges if edge.is_up}

    def _picture(self, now_s: int) -> list[Node]:
        """What the nodes know of each other; one that has failed is believed to be as it was, for a while."""
        return [
            edge.node(edge.viewers) for edge in self.world.edges if edge.is_up or now_s - edge.down_since_s < EXPIRY_S
        ]

    def _choose(self, cohort: Cohort, picture: Sequence[Node]) -> None:
        """A player tries one edge of the list after the other."""
        best = next(self._up[node.id] for node in self.policy.order(cohort, picture) if node.id in self._up)
        if best is cohort.at:
            return
        if cohort.at is not None:
            cohort.at.viewers -= cohort.size
            cohort.moves += 1
        best.viewers += cohort.size
        cohort.at = best

    def _segment(self, msn: int) -> None:
        """The next segment is announced, and all who watch ask for it."""
        media, init = ObjectInfo(f"1-{msn}.m4s", 1000, "0" * 64), ObjectInfo("1-init.mp4", 800, "0" * 64)
        segment = Segment(msn, 0, msn * SEGMENT_S * 1000, SEGMENT_S * 1000, media, init)
        announcement = SegmentAnnounced("show", Epoch(1, 0), SEGMENT_S, INFO, segment)
        self.origin.apply([announcement])
        for edge in self.world.edges:
            if not edge.is_up:
                continue
            if self.chance.random() >= LOSS:
                edge.window.apply([announcement])
            if edge.window.is_incomplete:
                edge.window.apply(self.origin.announcements())
            if edge.viewers:
                self._ask(edge)

    def _ask(self, edge: Edge) -> None:
        """What is listed last, three segments for whoever has just come; of each, the first request is passed on."""
        for segment in edge.window.listed(SOURCE)[-3:]:
            assert segment.media is not None
            name = segment.media.name
            if name not in edge.fetched:
                edge.fetched.add(name)
                assert self.origin.object_info(SOURCE, name) == segment.media
                self.seen.requests[name] += 1
            self.seen.asked[name].add((edge.id, edge.down_since_s))

    def _note(self, now_s: int, arrived: Sequence[Cohort]) -> None:
        edges = self.world.edges
        self.seen.shares.append([edge.share if edge.is_up else math.nan for edge in edges])
        over = [edge for edge in edges if edge.is_up and edge.viewers > FITS]
        roomy = [edge for edge in edges if edge.is_up and edge.share < HAS_ROOM]
        self.seen.over_s += bool(over)
        pairs = itertools.product(over, roomy)
        self.seen.over_avoidable_s += any(distance_km(edge.place, other.place) < REACH_KM for edge, other in pairs)
        if now_s % ASK_AGAIN_S == ASK_AGAIN_S - 1:
            self.seen.near.append(sum(map(self._is_near, arrived)) / len(arrived))

    def _is_near(self, cohort: Cohort) -> bool:
        """Whether no edge that is nearer, by more than a little, has room; and its own has not too many."""
        assert cohort.at is not None
        if not cohort.at.is_up or cohort.at.viewers > FITS:
            return False
        own_km = distance_km(cohort.place, cohort.at.place)
        for km, number in cohort.near:
            if km + NEAR_KM >= own_km:
                return True
            if self.world.edges[number].is_up and self.world.edges[number].share < HAS_ROOM:
                return False
        return True


def cost(nodes: int) -> tuple[float, float]:
    """Microseconds for one decision, the median and the fastest, when a hundredth of the edges is news."""
    chance = random.Random(nodes)
    edges = [
        Node(f"edge-{number}", "edge", "http://x:1", location=_near(chance.choice(CITIES), 2, chance),
             load=Load(bits_per_s=chance.uniform(0, 9e9)))
        for number in range(nodes)
    ]  # fmt: skip
    balance, rounds, times = Balance(), max(20, 20_000 // nodes), []
    viewers = [Viewer(_near(chance.choice(CITIES), 4, chance), key=str(number)) for number in range(rounds)]
    balance.order(viewers[0], edges)
    for viewer in viewers:
        for number in chance.sample(range(nodes), nodes // 100):
            edges[number] = evolve(edges[number])
        began = time.perf_counter()
        balance.order(viewer, edges)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6, min(times) * 1e6


def plot(path: Path, results: dict[str, Seen]) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(12, 3.6), sharey=True, layout="constrained")
    for axis, (name, seen) in zip(axes, results.items(), strict=True):
        axis.plot(seen.shares, linewidth=0.3, color="#1f5fa8", alpha=0.5)
        axis.axhline(1, color="#c0392b", linewidth=1)
        axis.set(title=name, xlabel="seconds", ylim=(0, 2.5))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("load of each edge / its capacity")
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=1_000_000)
    parser.add_argument("--cohort", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--delay-s", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lose-region", action="store_true")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    policies = {"steering": Steering, "nearest only": Nearest, "round robin": RoundRobin}
    results: dict[str, Seen] = {}
    print("| edges | microseconds a decision, median | fastest |\n| --- | --- | --- |")
    for nodes in (10, 100, 1000, 5000):
        median_us, fastest_us = cost(nodes)
        print(f"| {nodes:,} | {median_us:,.0f} | {fastest_us:,.0f} |")
    print("\n| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    first = world(options.viewers, options.cohort, options.seconds, options.seed, options.lose_region)
    for name, policy in policies.items():
        run = Run(first.anew(), policy(), options.delay_s, random.Random(options.seed))
        results[name] = run.run(options.seconds)
        print(f"| {name} | " + " | ".join(results[name].row(options.viewers)) + " |", flush=True)
    if options.plot is not None:
        plot(options.plot, results)


if __name__ == "__main__":
    main()
