"""
How many requests one core of an edge answers from memory, beside nginx and Varnish.

    python benchmarks/edge_http.py [--seconds 2] [--rounds 8] [--set edge.access_log=/dev/shm/access.log]

Each cache is on one core, as an edge of the same scripted origin, and wrk on another: a playlist of 1 KB, a part of
64 KB and a segment of 940 KB, over 10 and over 100 connections, and a mix as players make it. They take turns of two
seconds, so that a machine whose speed changes does so for all; the table has the medians.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from attrs import frozen
from http_peers import Above, Family, above, await_listed, livestream, nginx, varnish
from rtmp_peers import LOAD_CORE, Peer, free_port, raise_limits, running

COLUMNS = "{:<12} {:>5} {:<11} {:>10} {:>8} {:>8} {:>9} {:>12} {:>8} {:>7}"
MIX = """\
local paths = { %s }
local turn = 0
request = function()
  turn = turn + 1
  return wrk.format("GET", paths[turn %% #paths + 1])
end
"""


@frozen
class Load:
    """What is asked for: paths in turn, over so many connections."""

    name: str
    connections: int
    paths: tuple[str, ...]


@frozen
class Run:
    requests_s: float
    bytes_s: float
    p99_ms: float
    cpu_percent: float
    memory_bytes: float
    errors: str

    @property
    def cpu_us(self) -> float:
        """The CPU that a request cost; it tells servers apart where the limit is wrk's core, and the rate does not."""
        return self.cpu_percent * 1e4 / self.requests_s


def loads(tier: Above) -> list[Load]:
    """A player asks for a playlist and then for a segment; each part of the mix is another rendition's."""
    playlist, part, segment = "/live/bench/64p/index.m3u8", tier.segment("64p"), tier.segment("940p")
    mix = (playlist, part, "/live/bench/940p/index.m3u8", segment)
    kinds = {"1 KB": (playlist,), "64 KB": (part,), "940 KB": (segment,), "mix": mix}
    return [Load(name, count, paths) for name, paths in kinds.items() for count in (10, 100)]


def measure(port: int, load: Load, usage: Family, seconds: float, folder: Path) -> Run:
    script = folder / "mix.lua"
    script.write_text(MIX % ", ".join(f'"{path}"' for path in load.paths))
    words = ["-t1", f"-c{load.connections}", f"-d{seconds:g}", "--latency", "-s", str(script)]
    words = words if len(load.paths) > 1 else words[:4]
    cpu = usage.cpu_s()
    command = ["taskset", "-c", LOAD_CORE, "wrk", *words, f"http://127.0.0.1:{port}{load.paths[0]}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu = usage.cpu_s() - cpu
    requests, took = re.search(r"(\d+) requests in ([\d.]+)s", out).groups()  # type: ignore[union-attr]
    errors = " ".join(re.findall(r"(?:Socket errors|Non-2xx).*", out))
    rate, p99_ms = _number(r"Transfer/sec:\s+(\S+)", out), _number(r"(?m)^\s+99%\s+(\S+)$", out)
    return Run(int(requests) / float(took), rate, p99_ms, 100 * cpu / float(took), usage.memory_bytes(), errors)


def _number(pattern: str, out: str) -> float:
    units = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "us": 1e-3, "ms": 1, "s": 1e3}
    found = re.search(pattern, out)
    value, unit = re.fullmatch(r"([\d.]+)(\D*)", found[1]).groups()  # type: ignore[index, union-attr]
    return float(value) * units[unit]


def table(results: dict[tuple[str, int], dict[str, list[Run]]]) -> None:
    print(COLUMNS.format("object", "conns", "server", "requests/s", "GB/s", "p99 ms", "% core", "us/request", "MiB",
                         "ratio"))  # fmt: skip
    for (name, connections), servers in results.items():
        rates = {server: statistics.median(run.requests_s for run in runs) for server, runs in servers.items()}
        best = max((rate for server, rate in rates.items() if server != "livestream"), default=float("nan"))
        for server, runs in servers.items():

            def middle(of: Callable[[Run], float], runs: list[Run] = runs) -> float:
                return statistics.median(map(of, runs))

            print(COLUMNS.format(
                name, connections, server, f"{rates[server]:,.0f}", f"{middle(lambda run: run.bytes_s) / 1e9:.2f}",
                f"{middle(lambda run: run.p99_ms):.1f}", f"{middle(lambda run: run.cpu_percent):.0f}",
                f"{middle(lambda run: run.cpu_us):.1f}",
                f"{middle(lambda run: run.memory_bytes) / 2**20:.0f}", f"{rates[server] / best:.2f}",
            ), *{run.errors for run in runs if run.errors})  # fmt: skip
    print("ratio: requests per second over those of the better of the other two")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], help="a setting of ours, section.key=value")
    args = parser.parse_args()
    raise_limits()
    results: dict[tuple[str, int], dict[str, list[Run]]] = {}
    with tempfile.TemporaryDirectory() as name, above() as tier, contextlib.ExitStack() as servers:
        folder = Path(name)
        ports = [free_port() for _ in range(3)]
        peers: list[Peer] = [
            livestream(ports[0], tier.port, *args.set),
            nginx(ports[1], tier.port, folder),
            varnish(ports[2], tier.port, folder),
        ]
        started = [
            (peer, port, servers.enter_context(running(peer, port, folder)))
            for peer, port in zip(peers, ports, strict=True)
        ]
        for _ in range(args.rounds):
            for number in range(len(loads(tier))):
                for peer, port, usage in started:
                    load = loads(tier)[number]  # anew each time: the window moves on
                    for path in load.paths:
                        await_listed(port, path)
                    run = measure(port, load, Family(usage), args.seconds, folder)
                    results.setdefault((load.name, load.connections), {}).setdefault(peer.name, []).append(run)
        table(results)


if __name__ == "__main__":
    main()
