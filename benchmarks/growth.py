"""
What an edge costs as it grows: with idle connections, and with streams. A cost that is flat is what is wanted.

    python benchmarks/growth.py [--seconds 3]

The edge runs alone on one core, wrk on the other, over 50 connections. Idle connections have had one answer each. Of
every stream the playlist and one segment of 64 KB are in memory, and wrk asks for the playlists in turn.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import tempfile
from pathlib import Path

from attrs import frozen
from http_peers import Family, above, await_listed, livestream
from rtmp_peers import LOAD_CORE, free_port, raise_limits, running

COLUMNS = "{:<18} {:>12} {:>12} {:>10} {:>16}"
CONNECTIONS = (10, 100, 1_000, 10_000)
STREAMS = (1, 10, 100, 1_000)
TURNS = """\
local turn, count = 0, %d
request = function()
  turn = turn + 1
  local number = turn %% count
  local name = number == 0 and "bench" or "bench-" .. number
  return wrk.format("GET", "/live/" .. name .. "/64p/index.m3u8")
end
"""


@frozen
class Row:
    name: str
    requests_s: float
    cpu_us: float
    memory_bytes: float
    each_bytes: float


def asked(port: int, path: str) -> tuple[socket.socket, bytes]:
    """One connection that has had one answer, and the answer."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: growth\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    while found and len(body) < int(found[1]):
        body += client.recv(65536)
    return client, body


def rate(port: int, usage: Family, seconds: float, streams: int, folder: Path) -> tuple[float, float]:
    """Requests per second, and the CPU of one in microseconds."""
    script = folder / "turns.lua"
    script.write_text(TURNS % streams)
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", "-c50", f"-d{seconds:g}", "-s", str(script)]
    cpu_s = usage.cpu_s()
    out = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True).stdout
    cpu_s = usage.cpu_s() - cpu_s
    found = re.search(r"(\d+) requests in ([\d.]+)s", out)
    assert found is not None and "Non-2xx" not in out, out
    return int(found[1]) / float(found[2]), cpu_s / int(found[1]) * 1e6


def with_connections(seconds: float, folder: Path) -> list[Row]:
    rows: list[Row] = []
    idle: list[socket.socket] = []
    with above() as tier:
        port = free_port()
        with running(livestream(port, tier.port, "limits.connections=20000"), port, folder) as process:
            usage, path = Family(process), "/live/bench/64p/index.m3u8"
            await_listed(port, path)
            rate(port, usage, 1, 1, folder)
            before = usage.memory_bytes()
            for count in CONNECTIONS:
                idle += [asked(port, path)[0] for _ in range(count - len(idle))]
                memory = usage.memory_bytes()
                rows.append(Row(f"{count:,} connections", *rate(port, usage, seconds, 1, folder), memory,
                                (memory - before) / count))  # fmt: skip
    for client in idle:
        client.close()
    return rows


def with_streams(count: int, seconds: float, folder: Path) -> Row:
    with above(streams=count) as tier:
        port = free_port()
        with running(livestream(port, tier.port), port, folder) as process:
            usage = Family(process)
            await_listed(port, "/live/bench/64p/index.m3u8")
            before = usage.memory_bytes()
            for number in range(count):
                stream = f"bench-{number}" if number else "bench"
                client, playlist = asked(port, f"/live/{stream}/64p/index.m3u8")
                client.close()
                name = playlist.decode().split()[-1]
                asked(port, f"/live/{stream}/64p/{name}")[0].close()
            memory = usage.memory_bytes()
            return Row(
                f"{count:,} streams", *rate(port, usage, seconds, count, folder), memory, (memory - before) / count
            )


def table(rows: list[Row]) -> None:
    print(COLUMNS.format("with", "requests/s", "CPU us each", "MiB", "KiB for each"))
    for row in rows:
        print(COLUMNS.format(row.name, f"{row.requests_s:,.0f}", f"{row.cpu_us:.1f}", f"{row.memory_bytes / 2**20:.0f}",
                             f"{row.each_bytes / 1024:.1f}"))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    raise_limits()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = with_connections(args.seconds, folder)
        rows += [with_streams(count, args.seconds, folder) for count in STREAMS]
    table(rows)


if __name__ == "__main__":
    main()
