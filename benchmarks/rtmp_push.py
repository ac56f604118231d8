"""
What a viewer of RTMP push costs, beside other servers: CPU of one core per 1,000 viewers, memory, first media.

    python benchmarks/rtmp_push.py [--viewers 2000] [--seconds 20] [--srs PATH] [--mediamtx PATH] [--slow N]

Every server runs alone on one core, and the load generator on another. Each gets the same stream from one publisher.
With --slow, N more viewers read at half the stream's rate, and the worst gap that the normal ones saw is worth a look.

A server that cannot keep up delivers less and looks cheap for each viewer, so the cost of a bit is compared as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from attrs import frozen
from rtmp_peers import (
    Peer,
    compiled,
    encoded,
    figures,
    free_port,
    livestream,
    load,
    mediamtx,
    nginx,
    raise_limits,
    running,
    srs,
)

STREAM_KBPS = 2630
COLUMNS = "{:<11} {:>9} {:>7} {:>11} {:>13} {:>11} {:>12} {:>16} {:>7} {:>6} {:>8}"


@frozen
class Result:
    name: str
    viewers: int
    alive: int
    cpu_percent: float
    memory_bytes: float
    figures: dict[str, float]

    @property
    def cpu_per_1000(self) -> float:
        return self.cpu_percent / self.viewers * 1000

    @property
    def cpu_per_gbps(self) -> float:
        """By what the normal viewers received."""
        return self.cpu_percent / max(self.figures["mbps"] * self.viewers / 1000, 1e-9)


def measure(peer: Peer, port: int, folder: Path, program: str, args: argparse.Namespace) -> Result:
    """Put the viewers on one server and watch it for a while."""
    path = encoded(folder)
    with running(peer, port, folder) as usage:
        publisher = load(program, "publish", "127.0.0.1", port, "live", "bench", 1, 0, path)
        try:
            time.sleep(3)
            memory = usage.memory_bytes()
            count = args.viewers + args.slow
            slow = (args.slow, STREAM_KBPS // 2) if args.slow else ()
            players = load(program, "play", "127.0.0.1", port, "live", "bench", count, args.seconds, args.rate, *slow)
            assert players.stdout is not None
            players.stdout.readline()
            began, cpu = time.monotonic(), usage.cpu_s()
            line = players.stdout.readline()
            cpu, elapsed = usage.cpu_s() - cpu, time.monotonic() - began
            grown = (usage.memory_bytes() - memory) / count
        finally:
            publisher.terminate()
            publisher.wait()
    seen = figures(line)
    return Result(peer.name, args.viewers, int(seen["alive"]), 100 * cpu / elapsed, grown, seen)


def table(results: list[Result]) -> None:
    print(COLUMNS.format("server", "viewers", "% core", "% per 1000", "% per Gbit/s", "KiB/viewer", "Mbit/s each",
                         "first ms p50/99", "gap ms", "ratio", "per bit"))  # fmt: skip
    ours = results[0]
    for one in results:
        seen = one.figures
        print(COLUMNS.format(
            one.name, f"{one.alive}/{one.viewers}", f"{one.cpu_percent:.1f}", f"{one.cpu_per_1000:.1f}",
            f"{one.cpu_per_gbps:.1f}", f"{one.memory_bytes / 1024:.1f}",
            f"{seen['least_mbps']:.2f}-{seen['most_mbps']:.2f}",
            f"{seen['first_ms_p50']:.0f}/{seen['first_ms_p99']:.0f}", f"{seen['worst_gap_ms_p99']:.0f}",
            f"{ours.cpu_per_1000 / one.cpu_per_1000:.2f}", f"{ours.cpu_per_gbps / one.cpu_per_gbps:.2f}",
        ))  # fmt: skip
    print("ratio, per bit: the first server's CPU per viewer, and per bit delivered, over this one's")
    print("gap: the longest silence that a normal viewer saw, at p99")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=300, help="viewers who come per second")
    parser.add_argument("--slow", type=int, default=0)
    parser.add_argument("--srs", help="path to an SRS binary")
    parser.add_argument("--mediamtx", help="path to a MediaMTX binary")
    parser.add_argument("--set", action="append", default=[], help="a setting of ours, section.key=value")
    parser.add_argument("--only", action="append", help="measure only the servers of these names")
    args = parser.parse_args()
    raise_limits()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(folder)
        ports = [free_port() for _ in range(4)]
        peers = [(livestream(ports[0], *args.set), ports[0]), (nginx(ports[1], folder), ports[1])]
        if args.srs:
            peers.append((srs(ports[2], folder, args.srs), ports[2]))
        if args.mediamtx:
            peers.append((mediamtx(ports[3], folder, args.mediamtx), ports[3]))
        chosen = [(peer, port) for peer, port in peers if not args.only or peer.name in args.only]
        table([measure(peer, port, folder, program, args) for peer, port in chosen])


if __name__ == "__main__":
    main()
