"""
Ordinary viewers of HLS: each keeps a connection, and asks for a playlist several times a second.

    python benchmarks/hostile_viewers.py HOST PORT PATH VIEWERS PER_SECOND

They go on until their standard input ends. Then each answer is written as JSON: when it was asked for, on the monotonic
clock, and how many seconds it took, or null if it did not come, or was not 200.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

ANSWER_S = 5.0
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Answer = tuple[float, float | None]


async def watch(host: str, port: int, path: str, number: int, period_s: float, answers: list[Answer]) -> None:
    """One viewer, from an address of its own."""
    request = f"GET {path} HTTP/1.1\r\nHost: viewers\r\n\r\n".encode()
    streams: Streams | None = None
    due_s = time.monotonic() + number % 100 / 100 * period_s
    while True:
        await asyncio.sleep(due_s - time.monotonic())
        asked_s = time.monotonic()
        try:
            if streams is None:
                source = (f"127.0.1.{number % 250 + 1}", 0)
                streams = await asyncio.wait_for(asyncio.open_connection(host, port, local_addr=source), ANSWER_S)
            is_right = await asyncio.wait_for(_ask(request, *streams), ANSWER_S)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            is_right = False
            if streams is not None:
                streams[1].close()
                streams = None
        answers.append((asked_s, time.monotonic() - asked_s if is_right else None))
        due_s = max(due_s + period_s, time.monotonic())


async def _ask(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Ask, read the whole answer, and say whether it is 200."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    found = LENGTH.search(head)
    await reader.readexactly(int(found[1]) if found else 0)
    return head[9:12] == b"200"


async def run(host: str, port: int, path: str, viewers: int, per_s: float) -> list[Answer]:
    answers: list[Answer] = []
    tasks = [asyncio.create_task(watch(host, port, path, number, 1 / per_s, answers)) for number in range(viewers)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    return answers


def main() -> None:
    host, port, path, viewers, per_s = sys.argv[1:]
    json.dump(asyncio.run(run(host, int(port), path, int(viewers), float(per_s))), sys.stdout)


if __name__ == "__main__":
    main()
