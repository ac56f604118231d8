"""
What requests for streams that are not live cost: at an edge, in the tiers above it, and to those who watch a live one.

    python benchmarks/unknown_names.py [--requests 500] [--seconds 5] [--only flv]

An ingest, an origin and an edge on one Redis, with one broadcast; between the tiers stand proxies that count
connections. Each load asks the edge for names that nobody has used before: playlists, segments, HTTP-FLV, WebSocket and
RTMP; the table has the CPU seconds of each role in that time and the 12 s after it, the broadcast's own included. The
last lines are how many of them a second role ``all`` answers on one core, over 50 connections. It needs the project,
Redis, ffmpeg and a C compiler.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field
from rtmp_peers import LOAD_CORE, SERVER_CORE, TWISTD, Usage, encoded, ffmpeg, figures, free_port, raise_limits

from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused

CONNECTIONS = 50
ROLES = ("ingest", "origin", "edge")
UPGRADE = "\r\n".join(
    (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
)
LOADS = {
    "playlist": ("/live/x%ld/master.m3u8", ""),
    "segment": ("/live/x%ld/source/1-2.m4s", ""),
    "segment of a live stream": ("/live/bench/source/1-%ld.m4s", ""),
    "flv": ("/live/x%ld.flv", ""),
    "websocket": ("/live/x%ld.flv", UPGRADE),
    "rtmp": ("", ""),
}
COLUMNS = "{:<26} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}  {}"


@define(eq=False)
class Proxy:
    """Passes connections on to ``port``, and counts them."""

    port: int
    own: int = field(factory=free_port)
    connections: int = 0

    async def start(self) -> None:
        await asyncio.start_server(self._accept, "127.0.0.1", self.own)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            there = await asyncio.open_connection("127.0.0.1", self.port)
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@define(eq=False)
class Node:
    """A process of one role."""

    role: str
    settings: list[str]
    folder: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        sets = [part for one in self.settings for part in ("--set", one)]
        command = ["taskset", "-c", SERVER_CORE, *TWISTD, "livestream", f"--role={self.role}", *sets]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.role}.log"

    def cpu_s(self) -> float:
        return Usage(self.process.pid).cpu_s()


@define(eq=False)
class Setup:
    """Everything that runs. The proxies are before the RTMP ports of the ingest and of the origin."""

    folder: Path
    more: list[str]
    ports: dict[str, int] = field(init=False)
    nodes: dict[str, Node] = field(factory=dict)
    others: list[subprocess.Popen[bytes]] = field(factory=list)
    proxies: dict[str, Proxy] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ports = {f"{role}.{what}": free_port() for role in (*ROLES, "all") for what in ("http", "rtmp")}
        self.proxies = {role: Proxy(self.ports[f"{role}.rtmp"]) for role in ("ingest", "origin")}

    async def start(self) -> None:
        redis = free_port()
        command = ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]
        self.others.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        for proxy in self.proxies.values():
            await proxy.start()
        above = None
        for role in ROLES:
            sets = [f"{role}.{what}={self._endpoint(role, what)}" for what in ("http", "rtmp")]
            sets += [f"bus.redis=redis://127.0.0.1:{redis}/0", "transcode.ladder=[]", *self.more]
            if above is not None:
                http, rtmp = self.ports[f"{above}.http"], self.proxies[above].own
                sets.append(f'{role}.upstreams=[{{http="http://127.0.0.1:{http}", rtmp="rtmp://127.0.0.1:{rtmp}"}}]')
            self._run(role, sets)
            above = role
        viewers, publishers = (self._endpoint("all", what) for what in ("http", "rtmp"))
        listens = [f"edge.http={viewers}", f"edge.rtmp={publishers}", f"ingest.rtmp={publishers}"]
        self._run("all", [*listens, *self.more])
        for name, port in self.ports.items():
            if name != "all.http":
                await _listening(port)
        media = encoded(self.folder)
        for port in (self.ports["ingest.rtmp"], self.ports["all.rtmp"]):
            url = f"rtmp://127.0.0.1:{port}/live/bench"
            command = [ffmpeg(), "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", str(media), "-c", "copy"]
            self.others.append(subprocess.Popen([*command, "-f", "flv", url], stdin=subprocess.DEVNULL))
        await asyncio.sleep(10)

    def _endpoint(self, role: str, what: str) -> str:
        return f"tcp:{self.ports[f'{role}.{what}']}:interface=127.0.0.1"

    def _run(self, role: str, sets: list[str]) -> None:
        ops = f"ops.http=tcp:{free_port()}:interface=127.0.0.1"
        self.nodes[role] = Node(role, [ops, *sets], self.folder)

    def stop(self) -> None:
        for process in (*self.others, *(node.process for node in self.nodes.values())):
            process.kill()
            process.wait(20)

    def used(self) -> dict[str, float]:
        """What was used so far: CPU seconds of each role, bytes of all logs, connections to each tier."""
        used = {role: node.cpu_s() for role, node in self.nodes.items()}
        used["log"] = sum(node.log.stat().st_size for node in self.nodes.values())
        return used | {f"to {role}": proxy.connections for role, proxy in self.proxies.items()}


async def _listening(port: int) -> None:
    for _ in range(400):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"nobody listens on {port}")


async def play_unknown(port: int, count: int) -> int:
    """Play so many names over RTMP, `CONNECTIONS` at a time; return how many were refused."""
    numbers = iter(range(count))
    refused = 0

    async def one(number: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        session = ClientSession(os.urandom(16), "live", f"rtmp://127.0.0.1:{port}/live", f"x{number}y{time.time_ns()}")
        writer.write(session.data_to_send())
        while data := await reader.read(1 << 16):
            events = list(session.receive_data(data))
            if any(isinstance(event, PeerRefused) for event in events):
                refused += 1
                break
            writer.write(session.data_to_send())
        writer.close()

    async def worker() -> None:
        for number in numbers:
            with contextlib.suppress(OSError):
                await one(number)

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return refused


async def ask(program: str, ports: tuple[int, int], load: str, count: int, seconds: float) -> dict[str, float | str]:
    """Put a load on the edge whose HTTP and RTMP ports these are."""
    path, more = LOADS[load]
    if not path:
        began = time.monotonic()
        refused = await play_unknown(ports[1], count)
        took = time.monotonic() - began
        return {"answered": refused, "seconds": took, "per_s": refused / took, "p99_ms": 0.0, "statuses": ""}
    words = [str(ports[0]), path, str(CONNECTIONS), str(count), f"{seconds:g}", more]
    command = ["taskset", "-c", LOAD_CORE, program, *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    line = (await process.communicate())[0].decode().strip()
    if "statuses=" not in line:
        return {"answered": 0.0, "seconds": seconds, "per_s": 0.0, "p99_ms": 0.0, "statuses": line}
    numbers, _, statuses = line.partition(" statuses=")
    return {**figures(numbers), "statuses": statuses.strip(",")}


async def measure(setup: Setup, program: str, args: argparse.Namespace) -> None:
    loads = [load for load in LOADS if args.only in (None, load)]
    heads = ("answered", "answers/s", "p99 ms", *(f"{role} s" for role in ROLES), "to origin", "to ingest", "log B")
    print(COLUMNS.format("to the edge", *heads, "statuses"))
    for load in loads:
        before = setup.used()
        ports = setup.ports["edge.http"], setup.ports["edge.rtmp"]
        result = await ask(program, ports, load, args.requests, 60)
        await asyncio.sleep(12)  # what is asked above goes on for a moment, and the log waits for ten seconds
        used = {name: value - before[name] for name, value in setup.used().items()}
        print(COLUMNS.format(load, f"{result['answered']:.0f}", f"{result['per_s']:.0f}", f"{result['p99_ms']:.1f}",
              *(f"{used[role]:.2f}" for role in ROLES), f"{used['to origin']:.0f}", f"{used['to ingest']:.0f}",
              f"{used['log']:.0f}", result["statuses"]), flush=True)  # fmt: skip
    print("\nrole all, as many as it answers")
    for load in loads:
        before = setup.used()
        ports = setup.ports["all.http"], setup.ports["all.rtmp"]
        count = 10**8 if LOADS[load][0] else 10 * args.requests
        result = await ask(program, ports, load, count, args.seconds)
        cpu_us = (setup.used()["all"] - before["all"]) * 1e6 / max(float(result["answered"]), 1)
        print(f"{load:<26} {result['per_s']:>10.0f}/s {cpu_us:>8.1f} us CPU each   {result['statuses']}", flush=True)


@contextlib.contextmanager
def prepared(folder: Path, more: list[str]) -> Iterator[tuple[Setup, str]]:
    program = folder / "unknown_names"
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_suffix(".c")], check=True)
    setup = Setup(folder, more)
    try:
        yield setup, str(program)
    finally:
        setup.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", choices=LOADS)
    parser.add_argument("--set", action="append", default=[], help="a setting of all processes, section.key=value")
    args = parser.parse_args()
    raise_limits()

    async def run(setup: Setup, program: str) -> None:
        await setup.start()
        await measure(setup, program, args)

    with tempfile.TemporaryDirectory() as name, prepared(Path(name), args.set) as (setup, program):
        asyncio.run(run(setup, program))


if __name__ == "__main__":
    main()
