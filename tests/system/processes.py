"""Real processes for the system tests: daemon, ffmpeg, Redis; each ends with the test that began it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self, TypeVar

import imageio_ffmpeg
from attrs import define, field

from tests.ports import free_port

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
RUN = "from twisted.scripts.twistd import run; run()"
OPTIONS = ("--nodaemon", "--pidfile=", "livestream")
TWISTD = ("-c", RUN, *OPTIONS)
TRACEBACK = "Traceback (most recent call last)"
MARK = "LC_TESTED_BY"
"""Names the test run in the environment of all that it starts; of that a daemon passes on to children what is LC_*."""
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def twistd_ahead(seconds: float) -> tuple[str, ...]:
    """A program whose wall clock is so much ahead."""
    return "-c", f"import time; real = time.time; time.time = lambda: real() + {seconds}; {RUN}", *OPTIONS


def until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Return the first true value of ``condition``; fail with ``what`` when the deadline passes."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


@define(eq=False)
class Process:
    """A child process with its output in a file, killed with its whole group at the end of the test."""

    arguments: Sequence[str]
    log: Path
    environ: dict[str, str] = field(factory=dict)
    _output: IO[bytes] = field(init=False)
    child: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        self._output = self.log.open("ab")
        self.child = subprocess.Popen(
            self.arguments,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.environ, MARK: str(os.getpid())},
            cwd=ROOT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.child.pid

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.child.send_signal(number)
        if number == signal.SIGKILL:
            self.child.wait(20)

    def wait(self, seconds: float = 60) -> int:
        return self.child.wait(seconds)

    def words(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(20)
        self._output.close()

    @contextmanager
    def running(self) -> Iterator[Self]:
        self.start()
        try:
            yield self
        finally:
            self.stop()


def get(
    url: str, seconds: float = 10, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Fetch ``url``: status, headers in lower case, body. A peer that refuses or cuts the answer gives status 0."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers or {}, method=method), timeout=seconds
        ) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()
    except (OSError, ValueError, EOFError) as error:
        return 0, {}, str(error).encode()
    except Exception as error:  # http.client.IncompleteRead and its kin: the answer was cut
        return 0, {}, repr(error).encode()


@define(eq=False)
class Daemon(Process):
    """
    ``twistd -n livestream``, or a ``program`` that takes the same options, with its own operations endpoint.

    A traceback in its log fails the test.
    """

    ops: int = field(factory=free_port)

    @classmethod
    def of(
        cls,
        folder: Path,
        name: str,
        *settings: str,
        role: str = "all",
        options: Sequence[str] = (),
        program: Sequence[str] = TWISTD,
    ) -> Daemon:
        ops = free_port()
        arguments = [sys.executable, *program, f"--role={role}", *options]
        for setting in (f"ops.http=tcp:{ops}:interface=127.0.0.1", *settings):
            arguments += ["--set", setting]
        return cls(arguments, folder / f"{name}.log", ops=ops)

    def await_ready(self, seconds: float = 30) -> None:
        until(lambda: self.answers("/readyz") or self.child.poll() is not None, f"{self.log.name} ready", seconds)
        assert self.child.poll() is None, self.words()

    def answers(self, path: str) -> bool:
        return get(f"http://127.0.0.1:{self.ops}{path}")[0] == 200

    def json(self, path: str) -> object:
        return json.loads(get(f"http://127.0.0.1:{self.ops}{path}")[2])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry ``labels``."""
        total = 0.0
        for line in get(f"http://127.0.0.1:{self.ops}/metrics")[2].decode().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.split("{")[0] == name and all(f'{key}="{text}"' in sample for key, text in labels.items()):
                total += float(value)
        return total

    @contextmanager
    def running(self) -> Iterator[Self]:
        with Process.running(self):
            self.await_ready()
            yield self
        assert TRACEBACK not in self.words(), self.words()
