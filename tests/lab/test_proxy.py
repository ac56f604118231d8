"""Each fault of a link does to connections what its name says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from attrs import define, field

from tests.lab.proxy import NO_FAULT, Link, LinkFault, Proxy, Silence
from tests.ports import free_port

QUIET_S = 0.3
"""What has not arrived by then does not."""


@define(eq=False)
class EchoServer:
    """Sends back all that it receives."""

    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(seed=1).running() as proxy:
        yield proxy


@pytest.fixture
def link(proxy: Proxy) -> Iterator[Link]:
    server = EchoServer()
    threading.Thread(target=server.serve, daemon=True).start()
    yield proxy.link("echo", ("127.0.0.1", free_port()), server.listener.getsockname())
    server.listener.close()


def connect(link: Link) -> socket.socket:
    return socket.create_connection(link.address, 5)


def received(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or what came before the end. :raises TimeoutError: neither comes."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def is_quiet(connection: socket.socket) -> bool:
    connection.settimeout(QUIET_S)
    try:
        connection.recv(1)
        return False
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)


def _send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def test_bytes_pass_and_so_does_the_end(link: Link) -> None:
    data = bytes(range(256)) * 4000
    with closing(connect(link)) as connection:
        sender = threading.Thread(target=_send_all, args=(connection, data))
        sender.start()
        assert received(connection, len(data) + 1) == data
        sender.join()


def test_delay_is_added_each_way(link: Link, proxy: Proxy) -> None:
    proxy.apply(LinkFault(delay_s=0.1), link)
    with closing(connect(link)) as connection:
        began_s = time.monotonic()
        connection.sendall(b"there and back")
        assert received(connection, 14) == b"there and back"
    assert time.monotonic() - began_s >= 0.4  # two to open, and one each way


def test_rate_is_kept(link: Link, proxy: Proxy) -> None:
    proxy.apply(LinkFault(bytes_per_s=100_000), link)
    with closing(connect(link)) as connection:
        began_s = time.monotonic()
        connection.sendall(bytes(20_000))
        connection.sendall(bytes(20_000))
        received(connection, 40_000)
    assert time.monotonic() - began_s >= 0.35


def test_what_is_held_arrives_after_the_silence(link: Link, proxy: Proxy) -> None:
    with closing(connect(link)) as connection:
        with proxy.applied(LinkFault(silence=Silence.HELD), link):
            connection.sendall(b"late")
            assert is_quiet(connection)
        assert received(connection, 4) == b"late"


def test_connections_that_were_swallowed_stay_silent_and_new_ones_work(link: Link, proxy: Proxy) -> None:
    with closing(connect(link)) as old:
        old.sendall(b"x")
        assert received(old, 1) == b"x"
        proxy.apply(LinkFault(silence=Silence.SWALLOWED), link)
        proxy.apply(NO_FAULT, link)
        old.sendall(b"never")
        assert is_quiet(old)
        with closing(connect(link)) as new:
            new.sendall(b"now")
            assert received(new, 3) == b"now"


def test_reset_within_a_number_of_bytes(link: Link, proxy: Proxy) -> None:
    proxy.apply(LinkFault(reset_within=100), link)
    with closing(connect(link)) as connection:
        connection.sendall(bytes(100))
        with pytest.raises(ConnectionResetError):
            received(connection, 100)


def test_half_close_ends_the_answer_as_if_it_were_whole(link: Link, proxy: Proxy) -> None:
    proxy.apply(LinkFault(half_close_within=100), link)
    with closing(connect(link)) as connection:
        connection.sendall(bytes(100))
        assert len(received(connection, 100)) < 100
        connection.sendall(b"still taken")


def test_single_bytes_are_the_same_bytes(link: Link, proxy: Proxy) -> None:
    proxy.apply(LinkFault(single_bytes=50), link)
    with closing(connect(link)) as connection:
        connection.sendall(bytes(range(200)))
        assert received(connection, 200) == bytes(range(200))


def test_who_refuses_resets_whoever_is_there(link: Link, proxy: Proxy) -> None:
    with closing(connect(link)) as connection:
        connection.sendall(b"x")
        received(connection, 1)
        with proxy.applied(LinkFault(refuses=True), link):
            with pytest.raises(ConnectionResetError):
                received(connection, 1)
            with pytest.raises(ConnectionRefusedError):
                connect(link)
    with closing(connect(link)) as connection:
        connection.sendall(b"x")
        assert received(connection, 1) == b"x"


def test_open_connections_are_lost_by_chance(link: Link, proxy: Proxy) -> None:
    with closing(connect(link)) as connection:
        connection.sendall(b"x")
        received(connection, 1)
        with proxy.applied(LinkFault(loss=1.0), link), pytest.raises(ConnectionResetError):
            received(connection, 1)


def test_a_silent_link_makes_a_sender_wait(link: Link, proxy: Proxy) -> None:
    with closing(connect(link)) as connection, proxy.applied(LinkFault(silence=Silence.HELD), link):
        connection.settimeout(QUIET_S)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += connection.send(bytes(1 << 16))
        assert sent < 64 << 20
