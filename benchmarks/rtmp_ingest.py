"""
What a publisher costs, beside nginx-rtmp: CPU of one core and memory for each, with nobody watching.

    python benchmarks/rtmp_ingest.py [--publishers 40] [--seconds 20] [--srs PATH]

Ours does more with what it takes: it also packages it for HLS. ``--set`` passes settings on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from attrs import frozen
from rtmp_peers import Peer, compiled, encoded, free_port, livestream, load, nginx, raise_limits, running, srs

COLUMNS = "{:<12} {:>12} {:>9} {:>16} {:>14} {:>6}"


@frozen
class Result:
    name: str
    publishers: int
    cpu_percent: float
    memory_bytes: float

    @property
    def cpu_per_publisher(self) -> float:
        return self.cpu_percent / self.publishers


def measure(peer: Peer, port: int, folder: Path, program: str, args: argparse.Namespace) -> Result:
    path = encoded(folder)
    with running(peer, port, folder) as usage:
        time.sleep(2)
        memory = usage.memory_bytes()
        words = ("publish", "127.0.0.1", port, "live", "bench", args.publishers, args.seconds + 10, path)
        publishers = load(program, *words)
        time.sleep(5)
        began, cpu = time.monotonic(), usage.cpu_s()
        time.sleep(args.seconds)
        cpu, elapsed = usage.cpu_s() - cpu, time.monotonic() - began
        grown = (usage.memory_bytes() - memory) / args.publishers
        out, _ = publishers.communicate()
    if publishers.returncode:
        raise SystemExit(f"{peer.name}: publishers were lost: {out}")
    return Result(peer.name, args.publishers, 100 * cpu / elapsed, grown)


def table(results: list[Result]) -> None:
    print(COLUMNS.format("server", "publishers", "% core", "% per publisher", "MiB/publisher", "ratio"))
    for one in results:
        ratio = results[0].cpu_percent / one.cpu_percent if one.cpu_percent else float("nan")
        print(COLUMNS.format(one.name, one.publishers, f"{one.cpu_percent:.1f}", f"{one.cpu_per_publisher:.3f}",
                             f"{one.memory_bytes / 2**20:.2f}", f"{ratio:.2f}"))  # fmt: skip
    print("ratio: our CPU over this server's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publishers", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--srs", help="path to an SRS binary")
    parser.add_argument("--set", action="append", default=[], help="a setting of ours, section.key=value")
    parser.add_argument("--only", action="append", help="measure only the servers of these names")
    args = parser.parse_args()
    raise_limits()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(folder)
        ports = [free_port() for _ in range(3)]
        peers = [(livestream(ports[0], *args.set), ports[0]), (nginx(ports[1], folder), ports[1])]
        if args.srs:
            peers.append((srs(ports[2], folder, args.srs), ports[2]))
        chosen = [(peer, port) for peer, port in peers if not args.only or peer.name in args.only]
        table([measure(peer, port, folder, program, args) for peer, port in chosen])


if __name__ == "__main__":
    main()
