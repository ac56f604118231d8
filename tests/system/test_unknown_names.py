"""An edge that is asked for names that nobody publishes, by all protocols, on real sockets."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from attrs import define, field

from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused
from tests.ports import free_port
from tests.system.conftest import Site
from tests.system.processes import Daemon, until

NAMES = 40


@define(eq=False)
class Above:
    """Where the edge would play from: connections are counted, and closed."""

    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    connections: int = 0

    def __attrs_post_init__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _accept(self) -> None:
        while True:
            try:
                self.listener.accept()[0].close()
            except OSError:
                return
            self.connections += 1


@define(eq=False)
class Asker:
    """A stranger who has a connection for each protocol of one edge."""

    http: int
    rtmp: int

    def statuses(self, *fields: str, count: int = NAMES) -> set[int]:
        """Ask for so many names by HTTP-FLV on one connection."""
        with socket.create_connection(("127.0.0.1", self.http), 10) as connection, connection.makefile("rb") as answers:
            found = set()
            for number in range(count):
                head = [f"GET /live/unknown{number}.flv HTTP/1.1", "Host: edge", *fields, "", ""]
                connection.sendall("\r\n".join(head).encode())
                status, length = int(answers.readline().split()[1]), 0
                while (line := answers.readline().strip().lower()) != b"":
                    length = int(line.split()[1]) if line.startswith(b"content-length") else length
                answers.read(length)
                found.add(status)
            return found

    def play(self, name: str) -> str:
        """Play a name over RTMP; return why that is refused."""
        session = ClientSession(os.urandom(16), "live", f"rtmp://127.0.0.1:{self.rtmp}/live", name)
        with socket.create_connection(("127.0.0.1", self.rtmp), 10) as connection:
            connection.sendall(session.data_to_send())
            while data := connection.recv(1 << 16):
                for event in session.receive_data(data):
                    if isinstance(event, PeerRefused):
                        return event.description
                connection.sendall(session.data_to_send())
        return ""


WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.fixture
def above() -> Above:
    return Above()


def test_names_that_nobody_publishes_open_no_connection_above_and_log_nothing_one_by_one(
    site: Site, above: Above
) -> None:
    redis, asker = site.redis(), Asker(free_port(), free_port())
    upstream = f'edge.upstreams=[{{http="http://127.0.0.1:{free_port()}", rtmp="rtmp://127.0.0.1:{above.port}"}}]'
    ports = [
        f"edge.{what}=tcp:{port}:interface=127.0.0.1" for what, port in (("http", asker.http), ("rtmp", asker.rtmp))
    ]
    edge = Daemon.of(site.folder, "edge", f"bus.redis={redis.url}", upstream, *ports, role="edge")
    site.run(edge)
    until(lambda: edge.metric("livestream_bus_up") == 1, "the bus")
    logged = len(edge.words())
    assert asker.statuses() == {404}
    assert asker.statuses(*WEBSOCKET) == {404}
    assert {asker.play(f"unknown{number}") for number in range(5)} == {f"unknown{n} is not live" for n in range(5)}
    assert above.connections == 0
    assert "unknown" not in edge.words()[logged:]

    redis.kill()
    until(lambda: edge.metric("livestream_bus_up") == 0, "the bus away")
    assert asker.statuses(count=2 * NAMES) == {404, 503}
    assert above.connections > 0
    assert edge.metric("livestream_limits_hit_total", limit="unknown_names") > 0
