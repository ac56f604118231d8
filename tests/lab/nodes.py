"""The processes of one cluster, each on a loopback address of its own, and each behind proxies of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

from tests.lab.proxy import Address, Link, Proxy
from tests.ports import free_port
from tests.system.processes import Daemon, until

SECRET, KEY = "the secret of this laboratory", "laboratory"
HOSTS = {"ingest": "127.0.1", "origin": "127.0.2", "edge": "127.0.3", "redis": "127.0.4"}
ROLES = ("ingest", "origin", "edge")
DRAIN_S = 8
READY_S = 30


@frozen
class Topology:
    """How many nodes of each role there are."""

    ingests: int = 2
    origins: int = 2
    edges: int = 2

    def ids(self) -> list[str]:
        counts = zip(ROLES, (self.ingests, self.origins, self.edges), strict=True)
        return [f"{role}-{number}" for role, count in counts for number in range(1, count + 1)]


FULL, SMALL = Topology(), Topology(1, 1, 1)


@define(eq=False)
class LabNode:
    """
    One node, by its id such as ``edge-2``.

    The others reach its HTTP and RTMP, and it reaches Redis, through links that can have faults. Viewers and encoders
    of the laboratory use its own addresses, which have none.
    """

    id: str
    redis: Address
    proxy: Proxy
    folder: Path
    more: Sequence[str] = ()
    http: Address = field(init=False)
    rtmp: Address = field(init=False)
    links: dict[str, Link] = field(factory=dict, init=False)
    daemon: Daemon = field(init=False)

    def __attrs_post_init__(self) -> None:
        host = f"{HOSTS[self.role]}.{self.id.rpartition('-')[2]}"
        self.http, self.rtmp = (host, free_port()), (host, free_port())
        for name, target in (("http", self.http), ("rtmp", self.rtmp), ("redis", self.redis)):
            self.links[name] = self.proxy.link(f"{self.id} {name}", (host, free_port()), target)
        self.daemon = Daemon.of(self.folder, self.id, *self._settings(), role=self.role)

    @property
    def role(self) -> str:
        return self.id.partition("-")[0]

    @property
    def tier_links(self) -> list[Link]:
        """The links over which others reach it."""
        return [self.links["http"], self.links["rtmp"]]

    def publish_url(self, stream: str) -> str:
        return f"rtmp://{self.rtmp[0]}:{self.rtmp[1]}/live/{stream}?key={KEY}"

    def start(self) -> None:
        """Start it, again if it had ended, and wait until it listens."""
        self.daemon.start()
        until(lambda: self.daemon.answers("/healthz") or not self.is_running, f"{self.id} listens", READY_S)

    def await_ready(self) -> None:
        self.daemon.await_ready(READY_S)

    def signal(self, number: int) -> None:
        os.kill(self.daemon.pid, number)

    def kill(self) -> None:
        self.daemon.stop()

    def drain(self) -> None:
        """Tell it to go; it has gone when ``await_end`` returns."""
        self.signal(signal.SIGTERM)

    def await_end(self) -> None:
        self.daemon.wait(DRAIN_S + 10)
        self.daemon.stop()

    @property
    def is_running(self) -> bool:
        return self.daemon.child.poll() is None

    def _settings(self) -> list[str]:
        http, rtmp, redis = (_authority(self.links[name].address) for name in ("http", "rtmp", "redis"))
        return [
            f"bus.redis=redis://{redis}/0",
            f"cluster.secret={SECRET}",
            f"cluster.drain_s={DRAIN_S}",
            f"node.id={self.id}",
            f"node.http=http://{http}",
            f"node.rtmp=rtmp://{rtmp}",
            f"{self.role}.http=tcp:{self.http[1]}:interface={self.http[0]}",
            f"{self.role}.rtmp=tcp:{self.rtmp[1]}:interface={self.rtmp[0]}",
            f'ingest.keys={{"*" = "{KEY}"}}',
            "transcode.ladder=[]",
            *self.more,
        ]


def _authority(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
