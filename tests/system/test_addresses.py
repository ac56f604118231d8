"""Limits per address and the PROXY protocol, from several addresses of this machine."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress

from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused, Started
from tests.ports import free_port
from tests.system.conftest import Site
from tests.system.processes import Daemon, until

KEY = "the-right-key"
ATTACKER, BROADCASTER, PROXY, VIEWER = "127.0.0.2", "127.0.0.3", "127.0.0.4", "198.51.100.7"
CONNECTIONS = 20


def line(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10, (source, 0))


def publish(port: int, source: str, key: str, header: bytes = b"") -> Started | PeerRefused | None:
    """Try to begin, and return the answer, if there is one."""
    client = ClientSession(os.urandom(16), "live", "rtmp://127.0.0.1/live", f"show?key={key}", publishes=True)
    with suppress(OSError), line(port, source) as connection:
        connection.sendall(header)
        while True:
            connection.sendall(client.data_to_send())
            if not (data := connection.recv(1 << 16)):
                return None
            for event in client.receive_data(data):
                if isinstance(event, Started | PeerRefused):
                    return event
    return None


def is_served(port: int, source: str, header: bytes = b"") -> bool:
    """Whether a request is answered at all."""
    with suppress(OSError), line(port, source) as connection:
        connection.sendall(header + b"GET /live/nothing/master.m3u8 HTTP/1.1\r\nHost: edge\r\n\r\n")
        return connection.recv(100).startswith(b"HTTP/1.1 404")
    return False


def test_one_address_locks_nobody_out_and_a_proxy_tells_whose_connection_it_is(site: Site) -> None:
    rtmp, http, log = free_port(), free_port(), site.folder / "access.log"
    daemon = Daemon.of(
        site.folder,
        "all",
        f"ingest.rtmp=tcp:{rtmp}:interface=127.0.0.1",
        f"edge.http=tcp:{http}:interface=127.0.0.1",
        f'ingest.keys={{"*" = "{KEY}"}}',
        f"edge.access_log={log}",
        "limits.exempt=[]",
        f"limits.rtmp_connections={CONNECTIONS}",
        "limits.connections_per_address=2",
        "limits.refused_publishes_per_address=3",
        f"cluster.trusted_proxies=['{PROXY}']",
        "edge.proxy_protocol=true",
        "ingest.proxy_protocol=true",
    )
    site.run(daemon)
    header = f"PROXY TCP4 {VIEWER} 192.0.2.1 50000 1935\r\n".encode()
    with ExitStack() as held:
        for _ in range(2 * CONNECTIONS):
            held.enter_context(line(rtmp, ATTACKER))
        assert isinstance(publish(rtmp, BROADCASTER, KEY), Started)
        told = [publish(rtmp, PROXY, f"wrong-{number}", header) for number in range(5)]
        assert [str(answer).count("too many wrong keys") for answer in told] == [0, 0, 0, 1, 1]
        assert isinstance(publish(rtmp, BROADCASTER, KEY), Started)
        assert publish(rtmp, PROXY, KEY) is None

        assert is_served(http, PROXY, header)
        for _ in range(2):
            held.enter_context(line(http, ATTACKER))
        assert not is_served(http, ATTACKER)
        assert is_served(http, BROADCASTER) and not is_served(http, PROXY)
    until(lambda: log.exists() and f"{VIEWER} - - [" in log.read_text(), "a line of the access log")
    assert daemon.metric("livestream_limits_hit_total", limit="connections_per_address") == 1
    assert daemon.metric("livestream_limits_hit_total", limit="rtmp_connections") > CONNECTIONS
    assert daemon.metric("livestream_limits_hit_total", limit="proxy_protocol") == 2
