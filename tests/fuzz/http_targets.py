"""HTTP from an untrusted peer: request heads, targets, forwarded addresses, signatures, and whole connections."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

import h11
from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from livestream.hls.paths import Kind, Target, parse_path
from livestream.hls.steering import Steering
from livestream.http.access_log import entry
from livestream.http.client_address import TrustedProxies
from livestream.http.conditions import Conditions, Outcome, select
from livestream.http.head import END, Head, Refused, check_unfinished, parse, parse_fields
from livestream.http.limits import HeadLimits
from livestream.http.prepared import Ready
from livestream.http.response import ResponseFactory
from livestream.http.signatures import Signatures
from livestream.http.site import HttpSite
from livestream.model.admission import Refusal
from livestream.signing import Credentials, seal, sign, unseal
from livestream.steering.nodes import Node
from tests.fuzz.choices import Choices, pieces
from tests.fuzz.faults import no_faults
from tests.hls.edge import Edge
from tests.hls.windows import window_of
from tests.ops.test_site import TOKEN, Port
from tests.push.test_flv import FakeRequest
from tests.push.test_flv import Site as Push

LIMITS = HeadLimits()
NOW = 1_800_000_000.0
SECRET = "the secret of these tests"
ETAG = b'"abc"'
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}")


def http_head(data: bytes) -> None:
    """
    A head is refused, or h11 parses it to the same request, and everything derived from it is well-formed.

    Input: the head without the empty line.
    """
    try:
        check_unfinished(data, 0, LIMITS)
        head = parse(data + END, LIMITS)
    except Refused as refusal:
        assert re.fullmatch(r"[45][0-9]{2} [A-Za-z -]+", refusal.status)
        return
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
    _check_as_h11(data, head)
    _check_target(head)
    _check_fast_path(head, data + END)
    _check_conditions(Conditions.of(head.fields), len(data))
    line = entry(data.partition(b"\r\n")[0], 200, 10, "hit")
    assert line.count(b'"') == 2 and line.count(b"\n") == 1


def _check_as_h11(data: bytes, head: Head) -> None:
    """h11 parses the same request, without a body."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
    connection.receive_data(data + END)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (head.method, head.target)
    assert int(request.http_version[2:]) == head.minor or int(request.http_version[2:]) > 1
    fields: dict[bytes, bytes] = {}
    for name, value in request.headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    assert fields == head.fields
    assert isinstance(connection.next_event(), h11.EndOfMessage)


def _check_target(head: Head) -> None:
    target = parse_path(head.path)
    if target is not None:
        assert _path_of(target) == head.path
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", target.path)
    forwarded = head.fields.get(b"x-forwarded-for", b"")
    answer = _steer().response(head.method, head.target, forwarded, "127.0.0.1")
    if answer is None:
        return
    raw = answer.head() + answer.read()
    top = raw.partition(END)[0]
    assert b"\n" not in top.replace(b"\r\n", b"") and b"\r" not in top.replace(b"\r\n", b"")
    assert top.isascii() and len(raw) < 8192
    location = dict(answer.fields).get(b"Location")
    if location is not None:
        assert urlsplit(location).netloc == b"one.example:8080"


def _check_fast_path(head: Head, data: bytes) -> None:
    """What the fast path prepares is one response and one line of the access log, and what it keeps is the same."""
    fast_path = _edge().fast_path
    assert fast_path is not None
    found = fast_path.answer(head, data, "127.0.0.1")
    if not isinstance(found, Ready):
        return
    logged = found.log_entry or found.logged_for(data.partition(b"\r\n")[0]).log_entry
    top = found.data.partition(END)[0].replace(b"\r\n", b"")
    assert found.data.startswith(b"HTTP/1.") and b"\r" not in top and b"\n" not in top
    assert found.total == len(found.data) + found.stop - found.start
    assert logged.count(b"\n") == 1 and logged.count(b'"') == 2
    assert fast_path.prepared.find(data) in (None, found)


def _path_of(target: Target) -> bytes:
    if target.kind is Kind.FLV:
        return f"/live/{target.stream}.flv".encode("ascii")
    last = target.name or ("index.m3u8" if target.rendition else "master.m3u8")
    return "/".join(filter(None, ("/live", target.stream, target.rendition, last))).encode("ascii")


def _check_conditions(conditions: Conditions, size: int) -> None:
    found = select(conditions, ETAG, size)
    if found.outcome is Outcome.PART:
        assert 0 <= found.start < found.stop <= size and conditions.range
    elif found.outcome is Outcome.WHOLE:
        assert (found.start, found.stop) == (0, size)
    elif found.outcome is Outcome.UNCHANGED:
        assert conditions.if_none_match
    else:
        assert conditions.range


@define(eq=False)
class _Guide:
    """Knows two edges; checks the address that it is given."""

    def order(self, stream: str, address: str, current: str) -> Sequence[Node]:
        assert _ADDRESS.fullmatch(address), address
        return (Node("edge-1", "edge", "http://one.example:8080"), Node("edge-2", "edge", "https://two.example"))


@cache
def _steer() -> Steering:
    windows = {"show": window_of("show")}
    return Steering(
        "edge-1", _Guide(), TrustedProxies.of(["127.0.0.0/8"]), windows.get, ResponseFactory("edge-1"), lambda: NOW
    )


def forwarded(data: bytes) -> None:
    """
    Any X-Forwarded-For gives a valid address, and that of the peer unless the peer is a trusted proxy.

    Input: the peer, the header field.
    """
    choices = Choices(data)
    peer = choices.pick(("127.0.0.1", "10.1.2.3", "192.0.2.1", "2001:db8::1", "fd00::1", "", "unix"))
    text = choices.rest().decode("latin-1")
    address = TrustedProxies.of(["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]).viewer(peer, text)
    if address != peer:
        assert peer in ("127.0.0.1", "10.1.2.3", "fd00::1")
        assert _ADDRESS.fullmatch(address), address
        assert str(ip_address(address)) == address
    assert TrustedProxies().viewer(peer, text) == peer
    for before in ("", "192.0.2.9, "):
        hops = before + "192.0.2.7, 10.9.9.9"
        assert TrustedProxies.of(["127.0.0.0/8", "10.0.0.0/8"]).viewer("127.0.0.1", f"{text}, {hops}") == "192.0.2.7"


def signatures(data: bytes) -> None:
    """
    Any signature is rejected unless it was made with the secret.

    Input: whether to alter a valid signature or to take all of it from the input; the changes or the signature.
    """
    choices = Choices(data)
    sound = sign("edge-1", SECRET, NOW)
    if choices.number() & 1:
        altered = bytearray(sound, "ascii")
        while not choices.at_end:
            altered[choices.number() % len(altered)] = choices.number()
        text = bytes(altered)
    else:
        text = choices.rest()
    head = Head(b"GET", b"/", 1, {b"x-livestream-node": text})
    try:
        _signatures().check(head, "192.0.2.1")
    except Refused as refusal:
        assert refusal.status == "403 Forbidden"
        assert text != sound.encode("ascii")
    else:
        assert text == sound.encode("ascii")
    assert unseal(text, SECRET) is None
    assert unseal(seal(text, SECRET), SECRET) == text


@cache
def _signatures() -> Signatures:
    return Signatures(Credentials("edge-2", SECRET, lambda: NOW))


class _Transport(StringTransport):
    """Treats half-close and abort as close."""

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    def abortConnection(self) -> None:
        self.loseConnection()


@cache
def _edge() -> Edge:
    edge = Edge(guide=_Guide(), proxies=TrustedProxies.of(["127.0.0.0/8"]))
    edge.windows.put("show", window_of("show"))
    edge.library.put("show", "720p", "1799999000000-1.m4s", b"segment" * 100)
    edge.states.texts["show"] = b"{}"
    return edge


def http_connection(data: bytes) -> None:
    """
    Any bytes on a connection get complete responses, at most one per head, independently of how they are split.

    Input: split pattern, bytes from the peer.
    """
    choices = Choices(data)
    pattern, sent = choices.number(), choices.rest()
    _check_answers(_edge().site, pattern, sent)


@cache
def _port() -> Port:
    return Port(("ops.example",), TOKEN)


def ops_connection(data: bytes) -> None:
    """
    The same on the operations port, which does nothing without the token.

    Input: split pattern, bytes from the peer.
    """
    choices, port = Choices(data), _port()
    pattern, sent = choices.number(), choices.rest()
    port.drained.clear()
    statuses = _check_answers(port.site, pattern, sent)
    if TOKEN.encode("ascii") not in sent and b64encode(b":" + TOKEN.encode("ascii"))[-20:] not in sent:
        assert not port.drained
        assert sent.count(b"/healthz") + sent.count(b"/readyz") >= statuses.count(200)


@cache
def _push() -> Push:
    return Push()


def push_request(data: bytes) -> None:
    """
    Any header fields get an FLV or WebSocket response or a 404, and any bytes may follow.

    Input: header fields that pass the strict parser, an empty line, bytes from the viewer.
    """
    block, _, following = data.partition(END)
    try:
        parse_fields(block + b"\r\n", LIMITS)
    except Refused:
        return
    push, request = _push(), FakeRequest()
    for line in block.split(b"\r\n"):
        name, _, value = line.partition(b":")
        request.requestHeaders.addRawHeader(name, value.strip(b" \t"))
    failures: list[Failure] = []
    push.view(request).addErrback(failures.append)
    if failures:
        assert failures[0].check(Refusal)
        return
    assert request.channel.protocol is not None
    request.channel.protocol.dataReceived(following)
    push.clock.advance(1)
    sent = request.channel.transport.value()
    assert sent.startswith(b"HTTP/1.1 ") and len(sent) <= 64 << 10
    request.channel.lose()
    assert push.push.watching == 0


def _check_answers(site: HttpSite, pattern: int, sent: bytes) -> list[int]:
    whole = _converse(site, [sent])
    assert len(whole) <= sent.count(END) + 1
    assert _converse(site, pieces(sent, pattern or 1)) == whole
    cast(Clock, site.clock).advance(1)  # the watchdog drops connections that were closed
    return whole


def _converse(site: HttpSite, parts: Iterable[bytes]) -> list[int]:
    """The status of each response; none may be an internal error."""
    with no_faults():
        channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
        assert channel is not None
        transport = _Transport()
        channel.makeConnection(transport)
        for part in parts:
            if transport.disconnecting:
                break
            channel.dataReceived(part)
        channel.connectionLost()
    return _statuses(transport.value())


def _statuses(data: bytes) -> list[int]:
    statuses = []
    while data:
        head, end, data = data.partition(END)
        assert end and head.startswith(b"HTTP/1."), head[:100]
        status = int(head[9:12])
        assert status != 500
        statuses.append(status)
        length = re.search(rb"\r\nContent-Length: ([0-9]+)(\r\n|$)", head, re.IGNORECASE)
        if length is not None and data and not data.startswith(b"HTTP/1."):  # an answer to HEAD has no body
            assert int(length[1]) <= len(data)
            data = data[int(length[1]) :]
    return statuses
