from __future__ import annotations

import socket

from attrs import define, field
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Server
from twisted.python.failure import Failure

from livestream.net.direct_socket import LOOKS, DirectSocket, Poller
from tests.logged_failures import LoggedFailures
from tests.net.loop import Loop


@define(eq=False)
class Echo(Protocol):
    """Sends back what it is sent, unless that is ``boom``."""

    heard: bytes = b""
    lost: list[Failure] = field(factory=list)

    def dataReceived(self, data: bytes) -> None:
        if data == b"boom":
            raise ValueError("boom")
        self.heard += data
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


def adopted(poller: Poller, loop: Loop) -> tuple[socket.socket, Server, Echo]:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    listener.close()
    return served(client, accepted, poller, loop)


def served(
    client: socket.socket, accepted: socket.socket, poller: Poller, loop: Loop
) -> tuple[socket.socket, Server, Echo]:
    for end in (client, accepted):
        end.setblocking(False)
    echo = Echo()
    transport = Server(accepted, echo, ("127.0.0.1", 5000), None, 1, loop)
    echo.makeConnection(transport)
    poller.adopt(direct_of(transport))
    return client, transport, echo


def direct_of(transport: Server) -> DirectSocket:
    direct = DirectSocket.of(transport)
    assert direct is not None
    return direct


def settle(loop: Loop) -> None:
    while loop.turn():
        pass


def test_the_reactor_sees_one_descriptor_and_every_connection_is_served() -> None:
    loop = Loop()
    poller = Poller(loop)
    ends = [adopted(poller, loop) for _ in range(20)]
    assert loop.readers == {poller}
    for number, (client, _, _) in enumerate(ends):
        client.send(b"%d" % number)
    settle(loop)
    assert [client.recv(99) for client, _, _ in ends] == [b"%d" % number for number in range(20)]
    assert loop.writers == set()


def test_a_full_socket_is_written_to_when_it_has_room() -> None:
    loop = Loop()
    client, transport, _ = adopted(Poller(loop), loop)
    transport.write(b"x" * 20_000_000)
    received = 0
    while received < 20_000_000:
        loop.turn()
        received += len(client.recv(1 << 20))
    assert transport.dataBuffer == b""
    assert poller_of(transport).getWriters() == []


def poller_of(transport: Server) -> Poller:
    assert isinstance(transport.reactor, Poller)
    return transport.reactor


def test_a_paused_connection_is_not_read() -> None:
    loop = Loop()
    client, transport, echo = adopted(Poller(loop), loop)
    transport.pauseProducing()
    client.send(b"now")
    settle(loop)
    assert echo.heard == b""
    transport.resumeProducing()
    settle(loop)
    assert echo.heard == b"now"


def test_a_peer_that_leaves_is_reported_once_and_the_reactor_is_left_alone() -> None:
    loop = Loop()
    poller = Poller(loop)
    ends = [adopted(poller, loop) for _ in range(2)]
    for client, transport, echo in ends:
        direct = direct_of(transport)
        client.close()
        settle(loop)
        poller.release(direct)
        assert [reason.type.__name__ for reason in echo.lost] == ["ConnectionDone"]
    assert loop.readers == set()


def test_an_abort_is_a_reset_for_the_peer() -> None:
    loop = Loop()
    client, transport, echo = adopted(Poller(loop), loop)
    transport.abortConnection()
    settle(loop)
    assert len(echo.lost) == 1
    try:
        client.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError("no reset")


def test_an_error_closes_its_own_connection_alone(logged_failures: LoggedFailures) -> None:
    loop = Loop()
    poller = Poller(loop)
    (broken, _, first), (whole, _, second) = adopted(poller, loop), adopted(poller, loop)
    broken.send(b"boom")
    whole.send(b"fine")
    settle(loop)
    assert [reason.type for reason in first.lost] == [ValueError]
    assert (second.lost, second.heard) == ([], b"fine")
    logged_failures.take(ValueError)


def test_when_the_reactor_ends_so_do_the_connections() -> None:
    loop = Loop()
    poller = Poller(loop)
    _, _, echo = adopted(poller, loop)
    poller.connectionLost(Failure(ConnectionError("the reactor stops")))
    assert [reason.type for reason in echo.lost] == [ConnectionError]


def test_what_comes_meanwhile_is_handled_in_the_same_turn_and_without_end_in_none() -> None:
    loop = Loop()
    client, _, echo = served(*socket.socketpair(), Poller(loop), loop)
    turns: list[int] = []

    def again(data: bytes) -> None:
        turns.append(len(data))
        client.send(b"x")

    echo.dataReceived = again  # type: ignore[method-assign]
    client.send(b"x")
    loop.turn()
    assert turns == [1] * LOOKS
    loop.turn()
    assert len(turns) == 2 * LOOKS


def test_with_a_rest_what_comes_meanwhile_is_handled_together_afterwards() -> None:
    loop = Loop()
    poller = Poller(loop, lambda: 0.01)
    (one, _, first), (other, _, second) = adopted(poller, loop), adopted(poller, loop)
    one.send(b"a")
    settle(loop)
    one.send(b"b")
    other.send(b"c")
    settle(loop)
    assert (first.heard, second.heard) == (b"a", b"")
    loop.advance(0.01)
    settle(loop)
    assert (first.heard, second.heard) == (b"ab", b"c")


def test_who_comes_in_a_rest_is_heard_at_once() -> None:
    loop = Loop()
    poller = Poller(loop, lambda: 0.01)
    first, _, _ = adopted(poller, loop)
    first.send(b"a")
    settle(loop)
    assert loop.readers == set()
    client, _, echo = adopted(poller, loop)
    client.send(b"b")
    settle(loop)
    assert echo.heard == b"b"
    loop.advance(0.01)
    assert len(loop.readers) == 1


def test_with_a_rest_the_last_connection_leaves_nothing_behind() -> None:
    loop = Loop()
    poller = Poller(loop, lambda: 0.01)
    client, transport, _ = adopted(poller, loop)
    client.send(b"a")
    settle(loop)
    poller.release(direct_of(transport))
    loop.advance(0.01)
    assert (loop.readers, loop.getDelayedCalls()) == (set(), [])
