"""What the kernel is asked to do for a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from attrs import define

from livestream.net.tcp import MAX_INT, NODE, VIEWER_KEEPALIVE, TcpTuning, tune

KEEPALIVE = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)


@define(eq=False)
class Transport:
    """One that has a socket."""

    connection: socket.socket

    def getHandle(self) -> socket.socket:
        return self.connection


@define(eq=False)
class Layer:
    """One, such as TLS, that has another below."""

    transport: object

    def getHandle(self) -> object:
        return object()


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as each:
        yield each


def keepalive(connection: socket.socket) -> list[int]:
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return [connection.getsockopt(socket.IPPROTO_TCP, option) for option in KEEPALIVE]


def test_a_node_and_a_viewer_that_have_vanished_are_noticed(connection: socket.socket) -> None:
    tune(Transport(connection), NODE)
    assert keepalive(connection) == [10, 5, 3, 30_000]
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    tune(Transport(connection), TcpTuning(keepalive=VIEWER_KEEPALIVE))
    assert keepalive(connection) == [30, 10, 3, 30_000]


def test_what_is_not_asked_for_stays(connection: socket.socket) -> None:
    tune(Transport(connection), NODE)
    tune(Transport(connection), TcpTuning(send_buffer_bytes=65_536))
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65_536
    assert keepalive(connection) == [10, 5, 3, 30_000]
    tune(Transport(connection), TcpTuning())
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65_536


def test_a_socket_below_a_layer_is_found_and_what_has_none_is_left_alone(connection: socket.socket) -> None:
    tune(Layer(Transport(connection)), NODE)
    assert keepalive(connection) == [10, 5, 3, 30_000]
    tune(Layer(None), NODE)


def test_a_local_socket_has_a_send_buffer_and_no_options_of_tcp() -> None:
    near, far = socket.socketpair()
    tune(Transport(near), TcpTuning(65_536, VIEWER_KEEPALIVE, is_prompt=True))
    assert near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65_536
    near.close()
    far.close()


def test_no_value_is_more_than_the_kernel_takes(connection: socket.socket) -> None:
    tune(Transport(connection), TcpTuning(send_buffer_bytes=MAX_INT + 1))
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 65_536
