"""Several nodes of one cluster on one Redis, each on a loopback address of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field

from tests.ports import free_port
from tests.system.conftest import RedisServer, Site
from tests.system.processes import Daemon, twistd_ahead
from tests.system.wire import Wire

SECRET = "the secret of these tests"


@define(eq=False)
class ClusterNode:
    """One node: where it is reached, and its process."""

    id: str
    role: str
    host: str
    http_port: int = field(factory=free_port)
    rtmp_port: int = field(factory=free_port)
    daemon: Daemon = field(init=False)

    @property
    def http(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def rtmp(self) -> str:
        return f"rtmp://{self.host}:{self.rtmp_port}"

    def settings(self) -> list[str]:
        return [
            f"cluster.secret={SECRET}",
            f"node.id={self.id}",
            f"node.http={self.http}",
            f"node.rtmp={self.rtmp}",
            f"{self.role}.http=tcp:{self.http_port}:interface={self.host}",
            f"{self.role}.rtmp=tcp:{self.rtmp_port}:interface={self.host}",
        ]


@define(eq=False)
class Cluster:
    """
    Nodes by their id, which begins with their role: ``edge-2`` is an edge. Those that are ``wired`` reach Redis on a
    wire of their own, and the clocks of those in ``clocks`` are so many seconds ahead.
    """

    site: Site
    names: Sequence[str]
    more: Sequence[str] = ()
    wired: Sequence[str] = ()
    clocks: Mapping[str, float] = field(factory=dict)
    wires: dict[str, Wire] = field(factory=dict, init=False)
    redis: RedisServer = field(init=False)
    nodes: dict[str, ClusterNode] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.redis = self.site.redis()
        for name in self.wired:
            self.wires[name] = self.site.enter(Wire(self.redis.socket).running())
        for number, name in enumerate(self.names, 1):
            self.nodes[name] = ClusterNode(name, name.partition("-")[0], f"127.0.0.{number}")
        for node in self.nodes.values():
            self.start(node)

    def start(self, node: ClusterNode) -> None:
        """Start a node, again if it had ended."""
        redis = self.wires.get(node.id, self.redis)
        settings = [f"bus.redis={redis.url}", *node.settings(), *self.more]
        clock_s = self.clocks.get(node.id, 0.0)
        node.daemon = Daemon.of(self.site.folder, node.id, *settings, role=node.role, program=twistd_ahead(clock_s))
        self.site.run(node.daemon)
