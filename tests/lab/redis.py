"""The Redis of a cluster, on a port of its own with nothing on disk, and what can happen to it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

from tests.lab.proxy import Address
from tests.ports import free_port
from tests.redis_program import redis_program
from tests.system.processes import Process, until

BUSY_AFTER_MS = 50
"""A script that has run for so long makes Redis answer BUSY to everybody else."""
SPIN = """
local function now() local time = redis.call('TIME') return time[1] + time[2] / 1e6 end
local began = now()
while now() - began < tonumber(ARGV[1]) do end
"""


@define(eq=False)
class LabRedis(Process):
    """A Redis or a Valkey."""

    address: Address = field(kw_only=True)

    @classmethod
    def of(cls, folder: Path, host: str, name: str = "redis") -> LabRedis:
        address = host, free_port()
        options = ["--port", str(address[1]), "--bind", host, "--save", "", "--appendonly", "no", "--dir", str(folder)]
        options += ["--dbfilename", f"{name}.rdb", "--lua-time-limit", str(BUSY_AFTER_MS)]
        return cls([redis_program(), *options], folder / f"{name}.log", address=address)

    def start(self) -> None:
        super().start()
        until(self._answers, f"{self.log.stem} answers", 10)

    def command(self, *words: object, seconds: float = 10) -> bytes:
        """Send one command; return the first line of the answer. :raises OSError: Redis does not answer."""
        encoded = [str(word).encode() for word in words]
        request = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        with socket.create_connection(self.address, seconds) as connection:
            connection.sendall(request)
            return connection.makefile("rb").readline().rstrip()

    def be_busy(self, seconds: float) -> None:
        """Run a script for so long, and return when it has ended."""
        answer = self.command("EVAL", SPIN, 0, seconds, seconds=seconds + 10)
        assert answer == b"$-1", answer

    @contextlib.contextmanager
    def replicating(self, other: LabRedis) -> Iterator[None]:
        """Be a replica of another Redis, whose data take the place of these, and refuse whoever writes."""
        self.command("REPLICAOF", *other.address)
        try:
            yield
        finally:
            self.command("REPLICAOF", "NO", "ONE")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.command("PING") == b"+PONG"
        return False
