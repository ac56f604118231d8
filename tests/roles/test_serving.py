"""What servers are made of the settings, and what a process warns of meanwhile."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.logger import capturedLogs, formatEvent

from livestream.bus.interface import Tier
from livestream.bus.published import PublishedStreams
from livestream.config import Config, load
from livestream.lifecycle.derived import OPS_CONNECTIONS
from livestream.lifecycle.process import Process
from livestream.metrics import Metrics
from livestream.ops.admission import OpsAdmission
from livestream.push.viewer_admission import ViewerAdmission
from livestream.roles.node import LocalNode
from livestream.roles.serving import operations, push_feeds, rtmp_server
from tests.logs import observed

SECRET = ("cluster.secret=0123456789abcdef", "node.id=origin-1", "node.http=http://192.0.2.8:80")
ABOVE = 'origin.upstreams=[{http="http://127.0.0.1:9"}]'
WARNING = "every client of Redis at {url} can stop any stream: set cluster.secret"


def node_of(config: Config) -> tuple[Process, LocalNode]:
    process = Process.of(config, reactor)
    return process, LocalNode.join(config, process, Metrics())


def warnings(redis: str, *settings: str) -> list[str]:
    """What is said when a process is put together that uses this Redis."""
    said: list[str] = []

    def note(event: dict[str, object]) -> None:
        if str(event["log_namespace"]).startswith("livestream."):
            said.append(str(formatEvent(event)))

    with observed(note):
        node_of(load("origin", None, {}, (f"bus.redis={redis}", ABOVE, *settings), lambda path: ""))
    return said


@pytest.mark.parametrize(
    ("redis", "shown"),
    [
        ("redis://192.0.2.7:6379/0", "redis://192.0.2.7:6379/0"),
        ("redis://user:password@redis.example", "redis://user:***@redis.example"),
        ("redis://127.example", "redis://127.example"),
        ("redis://[2001:db8::1]:6379", "redis://[2001:db8::1]:6379"),
    ],
)
def test_a_redis_that_others_reach_wants_a_secret(redis: str, shown: str) -> None:
    assert warnings(redis) == [WARNING.format(url=shown)]
    assert warnings(redis, *SECRET) == []


@pytest.mark.parametrize("redis", ["unix:/run/redis.sock", "redis://127.0.0.2", "redis://localhost/1", "redis://[::1]"])
def test_one_that_only_this_machine_reaches_wants_none(redis: str) -> None:
    assert warnings(redis) == []


def test_where_relays_come_from_can_be_changed_while_a_node_runs() -> None:
    def read(*settings: str) -> Config:
        return load("origin", None, {}, ("bus.redis=unix:/run/redis.sock", ABOVE, *settings), lambda path: "")

    config = read()
    process, node = node_of(config)
    rtmp_server(config, process, node, ViewerAdmission(push_feeds(config, process, node)), edges=None)
    with capturedLogs() as logged:
        process.reloader.reload(lambda: read("limits.relays_from=[]"))
    assert [str(formatEvent(event)) for event in logged] == ["configuration reloaded; applied: limits.relays_from"]


def test_the_operations_port_asks_for_what_the_settings_say() -> None:
    sets = ("ops.token=0123456789abcdef", "ops.hosts=['Ops.Example.']", "limits.header_s=3")
    config = load("all", None, {}, sets, lambda path: "")
    process, node = node_of(config)
    heartbeat = node.start_heartbeat(process, list, dict)
    site = operations(
        config, process, node, heartbeat, PublishedStreams(node.bus, Tier.INGEST, 6, "all"), list, edges=None
    )
    assert isinstance(site.admission, OpsAdmission)
    assert (site.admission.token, site.admission.hosts) == ("0123456789abcdef", frozenset({"ops.example"}))
    assert (site.limits.connections, site.limits.per_connection.header_s) == (OPS_CONNECTIONS, 3)
