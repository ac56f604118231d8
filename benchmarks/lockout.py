"""
Whether strangers can lock a broadcaster out of an RTMP port, and how many publishing keys they can try.

    python benchmarks/lockout.py [--attackers 1] [--rate 30] [--tries 60] [--set limits.rtmp_connections=300]

One daemon of role ``all`` on loopback. The attackers, 127.0.1.1 and the addresses after it, open ``--rate`` connections
a second in all, connect and create a stream on each, and say nothing more until they are closed. Once the port has had
20 seconds of that, a broadcaster at 127.0.0.9 tries to begin, again and again. Then an address alone tries wrong keys
for five seconds. Loopback is exempt from limits per address by default, so this wants ``--set limits.exempt=[]``.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import selectors
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field
from rtmp_peers import TWISTD, free_port

from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused, Started

BROADCASTER, GUESSER, KEY = "127.0.0.9", "127.0.2.1", "the-right-key"
WARM_UP_S, PATIENCE_S, GUESS_S = 20.0, 5.0, 5.0


def session(name: str) -> ClientSession:
    return ClientSession(os.urandom(16), "live", "rtmp://127.0.0.1/live", name, True)


def publish(port: int, source: str, name: str) -> Started | PeerRefused | None:
    """Try to begin, and return the answer, if there is one."""
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0)) as line:
        client = session(name)
        while time.monotonic() < deadline:
            line.sendall(client.data_to_send())
            if not (data := line.recv(1 << 16)):
                return None
            for event in client.receive_data(data):
                if isinstance(event, Started | PeerRefused):
                    return event
    return None


@define(eq=False)
class Attack:
    """Connections that ask for nothing, ``rate`` new ones a second."""

    port: int
    sources: Sequence[str]
    rate: float
    opened: int = field(default=0, init=False)
    held: dict[socket.socket, ClientSession] = field(factory=dict, init=False)
    _over: threading.Event = field(factory=threading.Event, init=False)
    _selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector, init=False)

    def run(self) -> None:
        sources, began = itertools.cycle(self.sources), time.monotonic()
        while not self._over.is_set():
            while self.opened < (time.monotonic() - began) * self.rate:
                self._open(next(sources))
            for key, _ in self._selector.select(0.01):
                self._hear(key.fileobj)  # type: ignore[arg-type]
        for line in list(self.held):
            self._drop(line)

    def stop(self) -> None:
        self._over.set()

    def _open(self, source: str) -> None:
        self.opened += 1
        with contextlib.suppress(OSError):
            line = socket.create_connection(("127.0.0.1", self.port), 1, (source, 0))
            line.settimeout(1)
            self.held[line] = session("nothing")
            self._selector.register(line, selectors.EVENT_READ)
            line.sendall(self.held[line].data_to_send())

    def _hear(self, line: socket.socket) -> None:
        try:
            data = line.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._drop(line)
            return
        for _ in self.held[line].receive_data(data):
            pass
        said = self.held[line].data_to_send()
        with contextlib.suppress(OSError):
            line.sendall(said if b"publish" not in said else b"")

    def _drop(self, line: socket.socket) -> None:
        self._selector.unregister(line)
        del self.held[line]
        line.close()


def guesses(port: int) -> tuple[int, int]:
    """How many wrong keys one address tries in `GUESS_S`, and how many of them the port has looked at."""
    tried = wrong = 0
    deadline = time.monotonic() + GUESS_S
    while time.monotonic() < deadline:
        answer = publish(port, GUESSER, f"show?key=wrong-{tried}")
        wrong += isinstance(answer, PeerRefused) and answer.description.startswith("wrong")
        tried += 1
    return tried, wrong


def limits_hit(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith("livestream_limits_hit_total")]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--attackers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=30)
    parser.add_argument("--tries", type=int, default=60)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    rtmp, http, ops = free_port(), free_port(), free_port()
    settings = [f"ingest.rtmp=tcp:{rtmp}:interface=127.0.0.1", f"edge.http=tcp:{http}:interface=127.0.0.1"]
    settings += [f"ops.http=tcp:{ops}:interface=127.0.0.1", f'ingest.keys={{"*" = "{KEY}"}}', *options.set]
    command = [*TWISTD, "livestream", *(f"--set={each}" for each in settings)]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
    attack = Attack(rtmp, [f"127.0.1.{number + 1}" for number in range(options.attackers)], options.rate)
    thread = threading.Thread(target=attack.run)
    try:
        while publish(rtmp, BROADCASTER, f"show?key={KEY}") is None:
            if daemon.poll() is not None:
                raise SystemExit("the daemon has ended")
            time.sleep(0.2)
        thread.start()
        time.sleep(WARM_UP_S)
        held, granted = len(attack.held), 0
        for number in range(options.tries):
            granted += isinstance(publish(rtmp, BROADCASTER, f"show{number}?key={KEY}"), Started)
            time.sleep(0.2)
        print(f"{options.rate:g} connections a second of {options.attackers} addresses, {held} held at once")
        print(f"the broadcaster got in {granted} times of {options.tries}")
        attack.stop()
        thread.join()
        tried, wrong = guesses(rtmp)
        print(f"one address tried {tried / GUESS_S:g} wrong keys a second, and {wrong} in all were looked at")
        print(*limits_hit(ops), sep="\n")
    finally:
        attack.stop()
        daemon.terminate()
        daemon.wait()


if __name__ == "__main__":
    main()
