"""
A stampede: so many viewers ask for the same segment, which nobody has asked for before, at the same moment.

    python benchmarks/herd.py [--waiters 1000 --waiters 5000] [--rounds 3] [--begin-ms 100] [--send-ms 400]

The origin takes 100 ms to begin and 400 ms to send. For each cache: how many requests reached the origin, and when the
waiters had the first byte of their answers and the last, from the moment they asked.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from attrs import frozen
from http_origin import COLD
from http_peers import Above, above, await_listed, livestream, nginx, varnish
from rtmp_peers import LOAD_CORE, Peer, free_port, raise_limits, running

COLUMNS = "{:<12} {:>8} {:>7} {:>9} {:>18} {:>20} {:>14} {:>13}"


@frozen
class Run:
    whole: int
    requests: int
    first_ms: tuple[float, float, float]
    last_ms: tuple[float, float, float]
    first_after_ms: float
    last_after_ms: float


def compiled(folder: Path) -> str:
    program = folder / "herd"
    source = Path(__file__).with_name("herd.c")
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    return str(program)


def measure(program: str, port: int, tier: Above, waiters: int, rendition: str) -> Run:
    """Let the herd ask for a segment that is listed, of a rendition that this cache has not been asked for."""
    path = tier.segment(rendition)
    before = tier.count()["asked"].get(path, 0)
    command = ["taskset", "-c", LOAD_CORE, program, "127.0.0.1", str(port), path, str(waiters), "30"]
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    seen = tier.count()
    figures = [float(word.partition("=")[2]) for word in out.split() if "=" in word]
    _, whole, _, *times, asked_s, began_s, done_s = figures
    after = [(began_s - seen["first_s"]) * 1000, (done_s - seen["last_s"]) * 1000]
    if seen["first_s"] < asked_s:
        after = [float("nan")] * 2
    requests = seen["asked"].get(path, 0) - before
    return Run(int(whole), requests, tuple(times[:3]), tuple(times[3:6]), *after)  # type: ignore[arg-type]


def table(results: dict[tuple[int, str], list[Run]]) -> None:
    print(COLUMNS.format("server", "waiters", "whole", "requests", "first ms 50/99/max", "whole ms 50/99/max",
                         "first after", "last after"))  # fmt: skip
    for (waiters, server), runs in results.items():
        first = "/".join(
            f"{statistics.median(values):.0f}" for values in zip(*(run.first_ms for run in runs), strict=True)
        )
        last = "/".join(
            f"{statistics.median(values):.0f}" for values in zip(*(run.last_ms for run in runs), strict=True)
        )
        first_after = statistics.median(run.first_after_ms for run in runs)
        last_after = statistics.median(run.last_after_ms for run in runs)
        print(COLUMNS.format(server, waiters, min(run.whole for run in runs), max(run.requests for run in runs),
                             first, last, f"{first_after:.0f} ms", f"{last_after:.0f} ms"))  # fmt: skip
    print("first after: from the origin's first byte until 99 of 100 waiters had theirs")
    print("last after: from its last byte to the last waiter's; times are medians, requests the most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiters", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--begin-ms", type=float, default=100)
    parser.add_argument("--send-ms", type=float, default=400)
    parser.add_argument("--set", action="append", default=[], help="a setting of ours, section.key=value")
    args = parser.parse_args()
    raise_limits()
    results: dict[tuple[int, str], list[Run]] = {}
    with tempfile.TemporaryDirectory() as name, above(args.begin_ms, args.send_ms) as tier:
        folder = Path(name)
        program = compiled(folder)
        ports = [free_port() for _ in range(3)]
        peers: list[Peer] = [
            livestream(ports[0], tier.port, *args.set),
            nginx(ports[1], tier.port, folder),
            varnish(ports[2], tier.port, folder),
        ]
        for peer, port in zip(peers, ports, strict=True):
            with running(peer, port, folder):
                await_listed(port, "/live/bench/940p/index.m3u8")
                renditions = iter(COLD)
                for waiters in args.waiters or [1000, 5000]:
                    for _ in range(args.rounds):
                        time.sleep(1)
                        run = measure(program, port, tier, waiters, next(renditions))
                        results.setdefault((waiters, peer.name), []).append(run)
        table(results)


if __name__ == "__main__":
    main()
