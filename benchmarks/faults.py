"""
What faults do to a cluster: processes that die, freeze and restart, links that break, a Redis that forgets, publishers
who move; seen from outside, by a verifier that polls every edge, fetches every segment and plays every push.

    python benchmarks/faults.py --list
    python benchmarks/faults.py [SCENARIO ...] [--runs 5] [--seed 1] [--small] [--seconds S] [--keep FOLDER]

Without a scenario all are run. ``A+B`` is one after the other in the same cluster. Each run is a cluster of its own on
loopback addresses: Redis, two ingests, two origins and two edges; with --small, one of each.

lost       numbers that a viewer who stayed at some edge never got, or only as a gap where another edge had media
regressed  playlists whose numbers or discontinuity numbers went back
conflicts  numbers that an edge lists otherwise than they were first seen, on whatever edge
gaps       numbers that some edge listed as a gap
failures   nodes that died by themselves or logged a traceback, and playlists that never grew again
stall      the longest time in which a playlist did not grow; one segment when nothing is wrong
silence    the longest time in which a viewer of the push got nothing new
recovery   from the fault's end until every playlist had grown

Waits count only while a publisher publishes, and at edges that are not themselves killed, frozen or restarted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the laboratory stands beside the tests, which use it too

from tests.lab.laboratory import Plan  # noqa: E402
from tests.lab.nodes import FULL, SMALL  # noqa: E402
from tests.lab.outcome import Outcome  # noqa: E402
from tests.lab.scenarios import SCENARIOS, description, run  # noqa: E402

COLUMNS = ("fault", "runs", "lost", "regressed", "conflicts", "gaps", "failures", "stall s", "silence s", "recovery s")
SHOWN = 6
"""Troubles of one run that are printed; --verbose prints all."""


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """One line of the table: sums of what was counted, the longest of what was waited for."""
    counts = [
        (len(one.lost), len(one.regressions), len(one.conflicts), one.gaps, len(one.failures)) for one in outcomes
    ]
    waits = [(one.stall_s, one.silence_s, one.recovery_s) for one in outcomes]
    cells = [*map(sum, zip(*counts, strict=True)), *(f"{max(waited):.1f}" for waited in zip(*waits, strict=True))]
    return f"| {' | '.join(map(str, (name, len(outcomes), *cells)))} |"


def one_run(name: str, seed: int, args: argparse.Namespace, folder: Path) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    topology = SMALL if args.small else FULL
    plan = Plan(seed, folder, topology, args.segment, args.streams, args.moves, args.seconds, media=folder.parent)
    began_s = time.monotonic()
    outcome = run(name, plan)
    print(f"{name}, seed {seed}, {time.monotonic() - began_s:.0f} s, {outcome.segments} segments", file=sys.stderr)
    for words in outcome.remarks:
        print(f"    {words}", file=sys.stderr)
    troubles = outcome.troubles()
    for words in troubles if args.verbose else troubles[:SHOWN]:
        print(f"    ! {words}", file=sys.stderr)
    if len(troubles) > SHOWN and not args.verbose:
        print(f"    ! and {len(troubles) - SHOWN} more", file=sys.stderr)
    return outcome


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Run everything, and print a line of the table as soon as it is known; what each run did goes to stderr."""
    seeds = range(args.seed, args.seed + args.runs)
    print(f"seeds {seeds[0]} to {seeds[-1]}, segments of {args.segment} s, {args.streams} streams\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"| {' | '.join('---' for _ in COLUMNS)} |", flush=True)
    for name in args.scenarios or SCENARIOS:
        outcomes = [one_run(name, seed, args, folder / f"{name}-{seed}") for seed in seeds]
        print(row(name, outcomes), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--list", action="store_true", help="say which scenarios there are")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next has the next")
    parser.add_argument("--small", action="store_true", help="one ingest, one origin, one edge")
    parser.add_argument("--seconds", type=float, help="how long faults last, where that is a choice")
    parser.add_argument("--segment", type=int, default=1, help="seconds of a segment, and between key frames")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--moves", type=int, default=6, help="of a publisher in one run")
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    parser.add_argument("--verbose", action="store_true", help="print everything that went wrong")
    args = parser.parse_args()
    if unknown := {one for name in args.scenarios for one in name.split("+")} - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; --list has them")
    return args


def main() -> None:
    args = arguments()
    if args.list:
        for name in SCENARIOS:
            print(f"{name:20} {description(name)}")
        return
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        compare(args, args.keep.absolute() if args.keep else Path(name))


if __name__ == "__main__":
    main()
