"""The operations port on real sockets: who may ask there, and how much of anything."""

from __future__ import annotations

import base64
import json

import pytest
from attrs import define, field

from livestream.config import load
from livestream.http.limits import HttpLimits
from livestream.http.response import PRIVATE, ResponseFactory
from livestream.http.site import HttpSite
from livestream.lifecycle.derived import OPS_CONNECTIONS, ops_limits
from livestream.lifecycle.reload import Reloader
from livestream.lifecycle.reload_hooks import reload_ops
from livestream.metrics import Metrics
from livestream.ops.admission import OpsAdmission, host_names
from livestream.ops.site import Ops, ops_site
from tests.http.wire import Client, Response, connect, responses
from tests.net.loop import Loop

TOKEN = "a-token-of-26-characters.."
ASKED = "/api/v1/streams"


@define(eq=False)
class Port:
    """An operations port with these settings, and what it was told."""

    hosts: tuple[str, ...] = ()
    token: str = ""
    limits: HttpLimits = field(factory=HttpLimits)
    loop: Loop = field(factory=Loop)
    metrics: Metrics = field(factory=Metrics)
    drained: list[str] = field(factory=list)
    admission: OpsAdmission = field(init=False)
    site: HttpSite = field(init=False)

    def __attrs_post_init__(self) -> None:
        ops = Ops(list, lambda: [{"stream": "show"}], self.metrics, drain=lambda: self.drained.append("go"))
        self.admission = OpsAdmission(
            ResponseFactory("edge-1", PRIVATE), self.metrics, host_names(self.hosts), self.token
        )
        self.site = ops_site(ops, self.admission, self.loop, self.limits)
        self.site.startFactory()

    def client(self) -> Client:
        client = connect(self.site, self.loop)
        assert client is not None
        return client

    def ask(self, path: str = ASKED, *fields: str, method: str = "GET", host: str = "127.0.0.1") -> Response:
        """The answer to one request on a connection of its own."""
        client = self.client()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
        client.send("\r\n".join(lines).encode("latin-1"))
        (answer,) = responses(client.settle(), [method])
        client.socket.close()
        self.pass_time(1)
        return answer

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.loop.advance(1)
            while self.loop.turn():
                pass

    def limited(self, limit: str) -> float:
        return self.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": limit}) or 0.0


def basic(password: str, name: str = "anyone") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_what_the_port_is_for_is_served() -> None:
    port = Port()
    assert json.loads(port.ask().body) == {"streams": [{"stream": "show"}]}
    assert b"livestream_broadcasts" in port.ask("/metrics").body
    assert port.ask("/metrics", method="HEAD").status == 200
    assert b"<title>" in port.ask("/cluster").body
    assert port.ask("/static/cluster.js", "Accept-Encoding: gzip").status == 200
    assert port.ask("/drain", "Content-Length: 0", method="POST").status == 202
    assert port.drained == ["go"]


OURS = ["127.0.0.1", "127.0.0.1:8081", "192.0.2.7:1", "[::1]", "[2001:db8::7]:8081", "localhost", "LOCALHOST:8081"]
NAMED = ["localhost.", "ops.example", "Ops.Example.:443", "b.example"]


@pytest.mark.parametrize("host", [*OURS, *NAMED])
def test_it_is_asked_by_an_address_or_a_name_that_is_its_own(host: str) -> None:
    assert Port(hosts=("OPS.example.", "b.example")).ask(host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil", "127.1", "10.0.0.999", ""]
)
def test_another_name_is_refused_with_the_setting_that_allows_it(host: str) -> None:
    port = Port(hosts=("ops.example",))
    answer = port.ask(host=host)
    assert (answer.status, "ops.hosts" in json.loads(answer.body)["error"]) == (421, True)
    assert port.ask("/drain", method="POST", host=host).status == 421
    assert (port.drained, port.limited("ops_host")) == ([], 2)


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "a:99999", "a b", "127.0.0.1\r\nHost: evil.example"])
def test_a_host_that_cannot_be_is_no_request(host: str) -> None:
    assert Port().ask(host=host).status == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/readyz?verbose"])
def test_probes_need_neither_a_name_nor_a_token(path: str) -> None:
    port = Port(token=TOKEN)
    assert port.ask(path, host="evil.example").status == 200
    assert port.ask(path, host="").status == 200
    assert port.ask(path, method="POST", host="evil.example").status == 421


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:8081", "", 202),
        ("127.0.0.1:8081", "http://127.0.0.1:8081", 202),
        ("ops.example", "https://ops.example", 202),
        ("127.0.0.1:8081", "http://127.0.0.1:8080", 403),
        ("127.0.0.1:8081", "http://127.0.0.1", 403),
        ("127.0.0.1:8081", "http://evil.example", 403),
        ("127.0.0.1:8081", "null", 403),
        ("127.0.0.1:8081", "http://127.0.0.1:8081\r\nOrigin: http://evil.example", 403),
    ],
)
def test_a_page_of_another_site_changes_nothing(host: str, origin: str, status: int) -> None:
    port = Port(hosts=("ops.example",))
    fields = [f"Origin: {origin}"] if origin else []
    assert port.ask("/drain", *fields, method="POST", host=host).status == status
    assert port.ask("/x", *fields, method="DELETE", host=host).status == (403 if status == 403 else 404)
    assert len(port.drained) == (status == 202)
    assert port.limited("ops_origin") == (0 if status == 202 else 2)


@pytest.mark.parametrize(
    ("authorization", "status", "wrong"),
    [
        (f"Authorization: Bearer {TOKEN}", 200, 0),
        (f"authorization: bearer  {TOKEN}", 200, 0),
        (basic(TOKEN), 200, 0),
        (basic(TOKEN, ""), 200, 0),
        ("X: y", 401, 0),
        ("Authorization: Bearer", 401, 1),
        (f"Authorization: Bearer {TOKEN}x", 401, 1),
        (f"Authorization: Bearer {TOKEN[:-1]}", 401, 1),
        (f"Authorization: {TOKEN}", 401, 1),
        (f"Authorization: Digest {TOKEN}", 401, 1),
        (basic(""), 401, 1),
        (basic(TOKEN + "x"), 401, 1),
        (basic("anyone", TOKEN), 401, 1),
        ("Authorization: Basic ====", 401, 1),
        ("Authorization: Basic \xff\xff", 401, 1),
        (f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}", 401, 1),
    ],
)
def test_with_a_token_nobody_is_served_without_it(authorization: str, status: int, wrong: int) -> None:
    port = Port(token=TOKEN)
    for path in (ASKED, "/metrics", "/cluster", "/static/cluster.js", "/nothing"):
        answer = port.ask(path, authorization)
        assert answer.status == (404 if status == 200 and path == "/nothing" else status)
        assert TOKEN.encode() not in answer.raw
    assert port.limited("ops_token") == 5 * wrong


def test_a_browser_is_told_to_ask_for_a_password() -> None:
    answer = Port(token="x" * 16).ask("/cluster")
    assert (answer.status, answer.fields["WWW-Authenticate"]) == (401, 'Basic realm="livestream"')
    assert "ops.token" in json.loads(answer.body)["error"]


@pytest.mark.parametrize("announced", ["Content-Length: 400000000", "Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_is_refused_before_any_of_it_is_read(announced: str) -> None:
    port = Port()
    client = port.client()
    client.send("\r\n".join(["POST /drain HTTP/1.1", "Host: 127.0.0.1", announced, "", ""]).encode() + b"x" * 200_000)
    (answer,) = responses(client.settle(), ["POST"])
    assert answer.status in (400, 413) and answer.fields["Connection"] == "close"
    port.pass_time(3)
    assert (client.channel in port.site.connections, port.drained) == (False, [])


def test_a_head_that_does_not_end_and_a_connection_that_asks_nothing_are_closed() -> None:
    port = Port()
    slow, idle = port.client(), port.client()
    idle.send(f"GET {ASKED} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for byte in f"GET {ASKED} ".encode()[:12]:
        slow.send(bytes([byte]))
        port.pass_time(1)
    (answer,) = responses(slow.settle(), ["GET"])
    assert (answer.status, port.limited("header_time")) == (408, 1)
    port.pass_time(70)
    assert port.site.connections == set()


@pytest.mark.parametrize(
    ("host", "named", "status"),
    [("127.0.0.1", "evil.example", 200), ("localhost:9", "x", 200), ("evil.example", "127.0.0.1", 421)],
)
def test_the_host_of_a_target_that_has_one_is_the_one_that_was_asked(host: str, named: str, status: int) -> None:
    client = Port().client()
    client.send(f"GET http://{host}{ASKED} HTTP/1.1\r\nHost: {named}\r\n\r\n".encode())
    assert int(client.settle().split(b" ")[1]) == status


def test_heads_are_limited() -> None:
    port = Port()
    assert port.ask("/" + "x" * 9000).status == 414
    assert port.ask(ASKED, *["X: y"] * 64).status == 431


def test_connections_are_limited_and_are_no_viewers() -> None:
    port = Port(limits=HttpLimits(connections=2))
    clients = [port.client() for _ in range(2)]
    assert connect(port.site, port.loop) is None
    assert (port.limited("ops_connections"), port.limited("connections")) == (1, 0)
    assert not port.metrics.registry.get_sample_value("livestream_viewers", {"protocol": "hls"})
    clients[0].socket.close()
    port.pass_time(1)
    assert port.ask().status == 200


def test_its_limits_are_those_of_the_settings_but_for_the_number_of_connections() -> None:
    limits = ops_limits(load("all", None, {}, ("limits.connections=1", "limits.header_s=2"), lambda _: ""))
    assert (limits.connections, limits.per_connection.header_s) == (OPS_CONNECTIONS, 2)


@pytest.mark.parametrize(
    "path", ["//", "/%2e%2e/x", "/healthz/", "/x/../healthz", "http://127.0.0.1//healthz", "*", "/a%00", "127.0.0.1:80"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_odd_path_is_no_path(path: str, method: str) -> None:
    assert Port().ask(path, method=method).status == 404


def test_the_host_of_an_absolute_target_is_the_one_that_counts() -> None:
    port = Port(hosts=("ops.example",))
    assert port.ask(f"http://ops.example{ASKED}", host="evil.example").status == 200
    assert port.ask(f"http://evil.example{ASKED}", host="ops.example").status == 421
    assert port.ask("http://127.0.0.1/drain", "Origin: http://evil.example", method="POST").status == 403
    assert (port.limited("ops_host"), port.limited("ops_origin")) == (1, 1)


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "CONNECT", "TRACE", "get", "X"])
def test_methods_that_are_for_nothing_are_refused(method: str) -> None:
    port = Port()
    assert port.ask(method=method).status == port.ask("/healthz", method=method).status == 405
    assert port.ask(method="POST").status == port.ask("/drain").status == 405


def test_no_page_of_another_site_can_read_an_answer() -> None:
    port = Port()
    for path in (ASKED, "/healthz", "/nothing", "/cluster"):
        assert not [name for name in port.ask(path).fields if name.lower().startswith("access-")]


def test_names_and_the_token_can_change_while_the_node_runs() -> None:
    port = Port()
    reloader = Reloader(load("all", None, {}, (), lambda _: ""))
    reload_ops(reloader, port.site, port.admission)
    sets = ("ops.hosts=['ops.example']", f"ops.token={TOKEN}", "limits.header_s=3")
    reloader.reload(lambda: load("all", None, {}, sets, lambda _: ""))
    assert port.ask(host="ops.example").status == 401
    assert port.ask(ASKED, basic(TOKEN), host="ops.example").status == 200
    assert (port.site.limits.per_connection.header_s, port.site.limits.connections) == (3, OPS_CONNECTIONS)
    reloader.reload(lambda: load("all", None, {}, (), lambda _: ""))
    assert (port.ask(host="ops.example").status, port.ask().status) == (421, 200)
