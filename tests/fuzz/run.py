"""
Fuzz targets with atheris, starting from their corpus, and print the results.

``python -m tests.fuzz.run [TARGET...] [--seconds N] [--jobs N] [--keep]``; all targets by default. ``.fuzz`` has the
working corpus, which the next run continues from, and the inputs that failed. ``--keep`` adds the smallest inputs with
new coverage to the corpus in the repository. The exit status is 1 after a finding.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from pathlib import Path
from time import monotonic

from attrs import frozen

from tests.fuzz.bounds import LONGEST_BYTES
from tests.fuzz.targets import CORPUS, TARGETS

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".fuzz"
HANGS_S = 60
"""Wall-clock limit for an input that hangs; `tests.fuzz.bounds` has the limit for slow ones."""
MEMORY_MB = 1024
KEPT_BYTES, KEPT_IN_ALL_BYTES = 1500, 24_000
"""With ``--keep``: the longest input, and the total size of a target's corpus."""

_PROGRESS = re.compile(r"^#(\d+)\s.*cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)
_WRITTEN = re.compile(r"Test unit written to (\S+)")


@frozen
class Report:
    """The results of one target; coverage is in edges and in libFuzzer's features."""

    name: str
    executions: int
    seconds: float
    edges: int
    features: int
    corpus: int
    findings: Sequence[Path]
    output: str

    def row(self) -> str:
        rate = self.executions / max(self.seconds, 1)
        cells = (self.name, f"{self.executions:,}", f"{rate:,.0f}", self.edges, self.features, self.corpus)
        return " | ".join(["", *map(str, (*cells, len(self.findings))), ""]).strip()


HEADINGS = "| target | executions | a second | edges | features | corpus | findings |\n" + "| --- " * 7 + "|"


def main(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzz targets; without any, all of them.")
    parser.add_argument("target", nargs="*", help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="add new inputs to the corpus of the repository")
    options = parser.parse_args(arguments)
    names = options.target or list(TARGETS)
    if unknown := set(names) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    with ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(lambda name: fuzz(name, options.seconds), names))
    print(HEADINGS)
    for report in reports:
        print(report.row())
    if options.keep:
        for name in names:
            keep(name)
    found = [report for report in reports if report.findings]
    for report in found:
        print(f"\n{report.name}\n{report.output}")
        for path in report.findings:
            print(f"kept in {path}; again with: python -m tests.fuzz.worker {report.name} {path}")
    return 1 if found else 0


def fuzz(name: str, seconds: int) -> Report:
    """Fuzz one target for this time, or until a finding."""
    corpus, findings = WORK / "corpus" / name, WORK / "findings" / name
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_BYTES}",
        f"-timeout={HANGS_S}",
        f"-report_slow_units={HANGS_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={findings}/",
        *([f"-dict={_dictionary(name)}"] if TARGETS[name].dictionary else []),
    ]
    began = monotonic()
    output, status = _worker(name, *options, corpus, CORPUS / name)
    took = monotonic() - began
    found = [Path(path) for path in _WRITTEN.findall(output)]
    if status and not found:
        found = [findings]  # the worker failed before any input
    progress = _PROGRESS.findall(output)
    executions, edges, features, kept = map(int, progress[-1]) if progress else (0, 0, 0, 0)
    if done := _DONE.search(output):
        executions, took = int(done[1]), float(done[2])
    report = Report(name, executions, took, edges, features, kept, found, output[-4000:])
    print(report.row(), file=sys.stderr, flush=True)
    return report


def _worker(name: str, *arguments: str | Path) -> tuple[str, int]:
    """Run the worker; return its output and its exit status."""
    command = [sys.executable, "-m", "tests.fuzz.worker", name, *map(str, arguments)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    return (process.stdout + process.stderr).decode("utf-8", "replace"), process.returncode


def _dictionary(name: str) -> Path:
    """Write a target's dictionary in the format of libFuzzer."""
    path = WORK / f"{name}.dict"
    path.write_text("".join(f'"{"".join(map(_quoted, token))}"\n' for token in TARGETS[name].dictionary))
    return path


def _quoted(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}"


def keep(name: str) -> None:
    """Add inputs with new coverage to the corpus in the repository, the smallest first."""
    merged = WORK / "merged" / name
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir(parents=True)
    _worker(name, "-merge=1", f"-max_len={KEPT_BYTES}", merged, CORPUS / name, WORK / "corpus" / name)
    left = KEPT_IN_ALL_BYTES - sum(path.stat().st_size for path in (CORPUS / name).iterdir())
    for path in sorted(merged.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        data = path.read_bytes()
        kept = CORPUS / name / sha1(data).hexdigest()
        if not kept.exists() and len(data) <= min(left, KEPT_BYTES):
            kept.write_bytes(data)
            left -= len(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
