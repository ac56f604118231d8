"""Ports, and when those who come to them are let in."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
from attrs import define, field
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port

from livestream.net.listeners import BACKLOG, CannotListen, Listener
from tests.ports import free_port


@define(eq=False)
class Door(Factory):
    """Counts those who come in."""

    came: int = field(default=0, init=False)

    def buildProtocol(self, addr: IAddress) -> Protocol:
        self.came += 1
        return Protocol()


def _turn(reactor: EPollReactor) -> None:
    for _ in range(5):
        reactor.iterate(0.01)


@pytest.fixture
def door() -> Door:
    return Door()


def test_who_comes_to_a_held_port_waits_and_is_let_in_when_it_opens(door: Door) -> None:
    reactor, port = EPollReactor(), free_port()
    listener = Listener("edge.http", f"tcp:{port}:interface=127.0.0.1", door, reactor, is_held=True)
    listener.privilegedStartService()
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            _turn(reactor)
            assert door.came == 0
            listener.open()
            _turn(reactor)
            assert door.came == 1
    finally:
        listener.close()


def test_a_port_that_is_taken_is_named_by_its_setting(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListen, match=r"edge\.http: cannot listen on tcp:.*in use"):
            Listener("edge.http", where, door, EPollReactor()).privilegedStartService()


@pytest.mark.parametrize("more, backlog", [("", BACKLOG), (":backlog=77", 77)])
def test_thousands_may_wait_to_be_let_in_unless_the_endpoint_says_otherwise(
    door: Door, more: str, backlog: int
) -> None:
    reactor, port = EPollReactor(), free_port()
    listener = Listener("edge.rtmp", f"tcp:{port}:interface=127.0.0.1{more}", door, reactor)
    listener.privilegedStartService()
    try:
        (listening,) = [reader for reader in reactor.getReaders() if isinstance(reader, Port)]
        info = listening.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        (most,) = struct.unpack_from("=I", info, 28)  # tcpi_sacked, which is the backlog of a port that listens
        assert most == min(backlog, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    finally:
        listener.close()
