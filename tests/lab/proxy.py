"""
A TCP proxy whose links can be slow, lossy, silent or broken, as told while they run.

What chance decides (which connection is lost, at which byte one is reset) comes from one seed. The proxy has a thread
and an event loop of its own, so that nothing else of the laboratory delays it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from attrs import define, field, fields, frozen

READ_BYTES = 1 << 16
QUEUED_READS = 32
"""At most 2 MiB wait in one direction of a connection; then its sender is paused, as on a real path."""
LOOK_S = 0.02
"""How often a silent link looks whether it may speak again."""
CALL_S = 10.0

Address = tuple[str, int]


class Silence(enum.Enum):
    """What becomes of bytes on a link that carries none; connections stay open in each case."""

    HELD = "they arrive when the silence ends, as after lost packets"
    SWALLOWED = "they never arrive, and connections that were open then stay silent, as behind a box that forgot them"


@frozen
class LinkFault:
    """How a link misbehaves; the default does not."""

    delay_s: float = 0.0
    """One way; a connection takes two of them to open."""
    bytes_per_s: float = math.inf
    loss: float = 0.0
    """The probability that a new connection is reset, and that an open one is within each second."""
    silence: Silence | None = None
    reset_within: int = 0
    """Each connection is reset after so many answered bytes at most; 0: never."""
    half_close_within: int = 0
    """Each connection's answer ends after so many bytes at most, as if complete; 0: never."""
    single_bytes: int = 0
    """So many bytes of each read are sent one by one."""
    refuses: bool = False

    def __str__(self) -> str:
        values = ((one.name, getattr(self, one.name)) for one in fields(LinkFault))
        named = ((name, value.name if isinstance(value, Silence) else value) for name, value in values)
        return ", ".join(f"{name}={value}" for name, value in named if value != getattr(NO_FAULT, name)) or "no fault"


NO_FAULT = LinkFault()


@define(eq=False)
class ProxiedConnection:
    """One connection through a link: two directions, each a reader, a bounded queue and a writer."""

    link: Link
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    is_muted: bool = False
    _answered: int = field(default=0, init=False)
    _cut_at: int | None = field(default=None, init=False)
    _has_ended: bool = field(default=False, init=False)
    """The answer was cut short, by a half-close."""

    async def run(self) -> None:
        tasks = [
            *self._direction(self.client[0], self.server[1], is_answer=False),
            *self._direction(self.server[0], self.client[1], is_answer=True),
        ]
        try:
            await asyncio.gather(*tasks)
        except OSError:
            self.reset()
        finally:
            for task in tasks:
                task.cancel()
            for _, writer in (self.client, self.server):
                writer.close()

    def reset(self) -> None:
        """End both sides with a RST."""
        for _, writer in (self.client, self.server):
            reset(writer)

    def _direction(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> Iterator[asyncio.Task[None]]:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_READS)
        yield asyncio.create_task(self._read(reader, queue))
        yield asyncio.create_task(self._write(queue, writer, is_answer=is_answer))

    async def _read(self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Queue what arrives with the time at which it is due; no bytes stand for the end."""
        clock, data = asyncio.get_running_loop().time, b"-"
        while data:
            data = await reader.read(READ_BYTES)
            await queue.put((clock() + self.link.fault.delay_s, data))

    async def _write(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await queue.get()
            if (wait_s := due - clock()) > 0:
                await asyncio.sleep(wait_s)
            while self.link.fault.silence is Silence.HELD:
                await asyncio.sleep(LOOK_S)
            is_dropped = self.is_muted or (is_answer and self._has_ended)
            if not data:
                if not is_dropped:
                    writer.write_eof()
                return
            if is_dropped:
                continue
            await self._send(writer, self._cut(data) if is_answer else data)
            if is_answer and self._has_ended:
                writer.write_eof()

    def _cut(self, data: bytes) -> bytes:
        """What of an answer still gets through. :raises ConnectionResetError: the connection is to be reset here."""
        fault = self.link.fault
        if within := fault.reset_within or fault.half_close_within:
            if self._cut_at is None:
                self._cut_at = self._answered + self.link.dice.randrange(within)
            if self._answered + len(data) >= self._cut_at:
                if fault.reset_within:
                    raise ConnectionResetError("at the byte that chance chose")
                data = data[: max(self._cut_at - self._answered, 0)]
                self._has_ended = True
        self._answered += len(data)
        return data

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        fault = self.link.fault
        if fault.bytes_per_s < math.inf:
            await asyncio.sleep(len(data) / fault.bytes_per_s)
        singles, rest = data[: fault.single_bytes], data[fault.single_bytes :]
        for index in range(len(singles)):
            writer.write(singles[index : index + 1])
            await asyncio.sleep(0)
        if rest:
            writer.write(rest)
        await writer.drain()


@define(eq=False)
class Link:
    """Listens at ``address`` for whoever wants ``target``."""

    name: str
    address: Address
    target: Address
    dice: random.Random
    fault: LinkFault = field(default=NO_FAULT, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)
    _connections: set[ProxiedConnection] = field(factory=set, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, *self.address, limit=READ_BYTES)

    async def close(self) -> None:
        self._stop_listening()
        for task in list(self._tasks):
            task.cancel()

    async def apply(self, fault: LinkFault) -> None:
        """Misbehave in this way from now on, with the connections that are open too."""
        self.fault = fault
        if fault.refuses:
            self._stop_listening()
            self.reset_all()
        elif self._server is None:
            await self.open()
        if fault.silence is Silence.SWALLOWED:
            for connection in self._connections:
                connection.is_muted = True

    def reset_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    def lose_some(self) -> None:
        """Reset connections by chance; to be called each second."""
        for connection in list(self._connections):
            if self.dice.random() < self.fault.loss:
                connection.reset()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await self._carry(reader, writer)
        self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.dice.random() < self.fault.loss:
                raise ConnectionResetError("lost by chance")
            await asyncio.sleep(2 * self.fault.delay_s)
            server = await asyncio.open_connection(*self.target, limit=READ_BYTES)
        except OSError:
            reset(writer)
            return
        is_muted = self.fault.silence is Silence.SWALLOWED
        connection = ProxiedConnection(self, (reader, writer), server, is_muted)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST."""
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@define(eq=False)
class Proxy:
    """All links of a laboratory, in a thread of their own; its methods may be called from any other."""

    seed: int
    links: dict[str, Link] = field(factory=dict, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop, init=False)

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        thread.start()
        ticking = asyncio.run_coroutine_threadsafe(self._tick(), self._loop)
        try:
            yield self
        finally:
            ticking.cancel()
            self._call(self._close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(CALL_S)

    def link(self, name: str, address: Address, target: Address) -> Link:
        """Open a link."""
        link = self.links[name] = Link(name, address, target, random.Random(f"{self.seed} {name}"))
        self._call(link.open)
        return link

    def apply(self, fault: LinkFault, *links: Link) -> None:
        for link in links:
            self._call(lambda link=link: link.apply(fault))  # type: ignore[misc]

    @contextmanager
    def applied(self, fault: LinkFault, *links: Link) -> Iterator[None]:
        """Let links misbehave within a ``with``."""
        self.apply(fault, *links)
        try:
            yield
        finally:
            self.apply(NO_FAULT, *links)

    def _call(self, function: Callable[[], Awaitable[None]]) -> None:
        async def call() -> None:
            await function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(CALL_S)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            for link in self.links.values():
                link.lose_some()

    async def _close(self) -> None:
        for link in self.links.values():
            await link.close()
        await asyncio.sleep(0.1)
