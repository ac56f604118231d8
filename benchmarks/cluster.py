"""
A whole cluster on one machine, and what becomes of its viewers when its nodes die one after the other.

    python benchmarks/cluster.py [--seed 1] [--faults 20] [--players 24] [--rolling] [--keep FOLDER]

Redis, two ingests, two origins and six edges, each on a loopback address of its own; three broadcasts; players on all
edges. Each fault kills a node (SIGKILL), or Redis at last, and starts it again after two seconds. With --rolling every
node is told to go (SIGTERM) instead, and started again when it has gone. A publisher whose ingest is gone goes on at
the other, as an encoder with a second server does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from attrs import define, field, frozen
from players import Location, Player, Record
from rtmp_peers import TWISTD, encoded, ffmpeg, raise_limits

SECRET, KEY = "benchmark-0123456789", "benchmark"
HTTP, RTMP, OPS, REDIS = 18080, 11935, 18081, 16379
STREAMS = ("one", "two", "three")
DOWN_S = 2.0
SETTLE_S = 6.0
"""Two segments and a bit: what a fault does to viewers is seen by then."""
COLUMNS = "{:<10} {:>8} {:>10} {:>12} {:>14} {:>12}"


@frozen
class Spec:
    """Who a node is."""

    role: str
    number: int
    address: str

    @property
    def name(self) -> str:
        return f"{self.role}-{self.number}"


SPECS = [
    *(Spec("ingest", number, f"127.0.1.{number}") for number in (1, 2)),
    *(Spec("origin", number, f"127.0.2.{number}") for number in (1, 2)),
    *(Spec("edge", number, f"127.0.3.{number}") for number in range(1, 7)),
]
EDGES: list[Location] = [(spec.address, HTTP) for spec in SPECS if spec.role == "edge"]


@define(eq=False)
class Child:
    """One process, started again as often as it is asked for."""

    name: str
    command: list[str]
    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, number: int) -> None:
        """Send a signal and wait for the end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that was started last."""
        assert self._process is not None
        return self._process.pid


def node(spec: Spec, folder: Path, redis_port: int = REDIS) -> Child:
    """A node of the cluster, which knows nothing of the others but Redis and the secret."""
    sets = {
        "bus.redis": f"redis://127.0.0.1:{redis_port}/0",
        "cluster.secret": SECRET,
        "node.id": spec.name,
        "node.http": f"http://{spec.address}:{HTTP}",
        "node.rtmp": f"rtmp://{spec.address}:{RTMP}",
        f"{spec.role}.http": f"tcp:{HTTP}:interface={spec.address}",
        f"{spec.role}.rtmp": f"tcp:{RTMP}:interface={spec.address}",
        "ops.http": f"tcp:{OPS}:interface={spec.address}",
        "ingest.keys": f'{{"*" = "{KEY}"}}',
        "transcode.ladder": "[]",
    }
    command = [*TWISTD, "livestream", f"--role={spec.role}"]
    return Child(spec.name, [*command, *(f"--set={key}={value}" for key, value in sets.items())], folder)


def redis(folder: Path, port: int = REDIS) -> Child:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("neither redis-server nor valkey-server is installed")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return Child("redis", [program, *options], folder)


@define(eq=False)
class Publisher:
    """A broadcaster with two ingests to choose from, who starts again when it is cut off."""

    stream: str
    media: Path
    folder: Path
    turn: int
    _child: Child | None = field(default=None, init=False)

    async def run(self) -> None:
        while True:
            if self._child is None or not self._child.is_running:
                ingest = SPECS[self.turn % 2]
                url = f"rtmp://{ingest.address}:{RTMP}/live/{self.stream}?key={KEY}"
                what = ["-re", "-stream_loop", "-1", "-i", str(self.media), "-c", "copy", "-f", "flv", url]
                command = [ffmpeg(), "-loglevel", "error", *what]
                self._child = Child(f"publisher-{self.stream}", command, self.folder)
                self._child.start()
                self.turn += 1
            await asyncio.sleep(0.1)

    def stop(self) -> None:
        if self._child is not None and self._child.is_running:
            self._child.end(signal.SIGKILL)


def answers(address: str) -> bool:
    """Whether a node says that it is ready."""
    try:
        with urllib.request.urlopen(f"http://{address}:{OPS}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def redis_answers(port: int = REDIS) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for a condition; return how long it took, in seconds."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        if time.monotonic() - began > seconds:
            raise SystemExit(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.05)
    return time.monotonic() - began


@frozen
class Fault:
    """What one fault did: how long until the node was ready again, and the longest stall of players elsewhere."""

    name: str
    gone_s: float
    ready_s: float
    stall_s: float
    stalls: int
    missing: int


async def strike(victim: Child, spec: Spec | None, record: Record, number: int) -> Fault:
    """End one node, start it again, and see what that did to players on the other edges."""
    began, missing = time.monotonic(), len(record.missing)
    await asyncio.to_thread(victim.end, number)
    gone_s = time.monotonic() - began
    if number == signal.SIGKILL:
        await asyncio.sleep(DOWN_S)
    victim.start()
    ready = redis_answers if spec is None else lambda: answers(spec.address)
    ready_s = await until(ready, 30, f"{victim.name} ready")
    await asyncio.sleep(SETTLE_S)
    own = None if spec is None else spec.address
    stalls = [length_s for at, length_s, place in record.stalls if at >= began and place[0] != own]
    return Fault(victim.name, gone_s, ready_s, max(stalls, default=0.0), len(stalls), len(record.missing) - missing)


def schedule(seed: int, faults: int) -> list[Spec | None]:
    """Every node in turn, then some again, in an order that the seed decides; Redis comes last."""
    dice = random.Random(seed)
    order: list[Spec | None] = []
    while len(order) < faults - 1:
        order += dice.sample(SPECS, len(SPECS))
    return [*order[: faults - 1], None]


async def play(folder: Path, args: argparse.Namespace) -> None:
    record, dice = Record(), random.Random(args.seed)
    store, nodes = redis(folder), {spec: node(spec, folder) for spec in SPECS}
    media = encoded(folder)
    publishers = [Publisher(stream, media, folder, turn) for turn, stream in enumerate(STREAMS)]
    players: list[Player] = []
    try:
        store.start()
        for child in nodes.values():
            child.start()
        for spec in SPECS:
            await until(lambda spec=spec: answers(spec.address), 60, f"{spec.name} ready")  # type: ignore[misc]
        running = [asyncio.create_task(publisher.run()) for publisher in publishers]
        await asyncio.sleep(15)
        for index in range(args.players):
            places = [EDGES[index % len(EDGES)], *dice.sample(EDGES, len(EDGES))]
            path = f"/live/{STREAMS[index % len(STREAMS)]}/source"
            players.append(Player(path, places, record, float("inf")))
        running += [asyncio.create_task(player.run()) for player in players]
        await asyncio.sleep(10)
        number = signal.SIGTERM if args.rolling else signal.SIGKILL
        victims = list(SPECS) if args.rolling else schedule(args.seed, args.faults)
        faults = []
        print(COLUMNS.format("killed", "gone s", "ready s", "stalls", "longest s", "missing"))
        for victim in victims:
            fault = await strike(store if victim is None else nodes[victim], victim, record, number)
            faults.append(fault)
            print(COLUMNS.format(fault.name, f"{fault.gone_s:.2f}", f"{fault.ready_s:.2f}", fault.stalls,
                                 f"{fault.stall_s:.2f}", fault.missing), flush=True)  # fmt: skip
        for task in running:
            task.cancel()
        summary(record, faults)
    finally:
        for publisher in publishers:
            publisher.stop()
        for child in (*nodes.values(), store):
            if child.is_running:
                child.end(signal.SIGKILL)


def summary(record: Record, faults: list[Fault]) -> None:
    waits = sorted(record.waits_s)
    print(f"segments lost: {len(record.missing)}  {' '.join(sorted(record.missing)[:5])}")
    print(f"media sequence regressions: {record.counts['regressions']}")
    print(f"longest stall on a surviving edge: {max(fault.stall_s for fault in faults):.2f} s")
    print(f"slowest to be ready again: {max(fault.ready_s for fault in faults):.2f} s")
    print(
        f"a segment took {waits[len(waits) // 2] * 1000:.0f} ms (p50), {waits[len(waits) * 99 // 100] * 1000:.0f} (p99)"
    )
    print(dict(sorted(record.counts.items())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--players", type=int, default=24)
    parser.add_argument("--rolling", action="store_true", help="SIGTERM to every node once, and none killed")
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    args = parser.parse_args()
    raise_limits()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        os.makedirs(folder, exist_ok=True)
        asyncio.run(play(folder, args))


if __name__ == "__main__":
    main()
