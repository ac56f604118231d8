"""Requests that say which node asks: who says it rightly is answered as fast as others, who says it wrongly is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from twisted.logger import formatEvent

from livestream.http.signatures import WARN_S, Signatures
from livestream.signing import CLOCKS_APART_S, HEADER, SAME_S, VALID_S, Credentials, sign
from tests.hls.edge import Edge
from tests.hls.windows import EPOCH, window_of
from tests.http.wire import request
from tests.logs import observed
from tests.net.loop import Loop

SECRET = "the secret of these tests"
SMALL = f"/live/s/720p/{EPOCH}-1.m4s"
COLD = f"/live/s/720p/{EPOCH}-9.m4s"


def upper_node(*, is_hot: bool = True, checks: bool = True) -> Edge:
    """A node that others ask; one that does not check signatures is one that viewers ask."""
    loop = Loop()
    signatures = Signatures(Credentials("origin-1", SECRET, loop.seconds)) if checks else None
    node = Edge(is_hot=is_hot, loop=loop, signatures=signatures)
    node.library.put("s", "720p", f"{EPOCH}-1.m4s", b"small")
    node.windows.put("s", window_of("s"))
    node.states.texts["s"] = b"{}"
    return node


def signed(now: float, name: str = "edge-1", secret: str = SECRET) -> str:
    return f"{HEADER}: {sign(name, secret, now)}"


def is_prepared(node: Edge, path: str, field: str) -> bool:
    """Whether these bytes would be answered on the fast path, without being read."""
    assert node.fast_path is not None
    return node.fast_path.prepared.find(request(path, field)) is not None


@contextmanager
def warnings() -> Iterator[list[str]]:
    said: list[str] = []

    def note(event: dict[str, object]) -> None:
        if str(event["log_namespace"]).endswith("signatures.Signatures"):
            said.append(str(formatEvent(event)))

    with observed(note):
        yield said


@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "klein"])
@pytest.mark.parametrize("path", [SMALL, COLD, "/live/s/720p/index.m3u8", "/state/s"])
def test_a_node_is_answered_as_one_that_does_not_say_who_it_is(path: str, is_hot: bool) -> None:
    node = upper_node(is_hot=is_hot)
    client = node.client()
    plain = client.ask(path)
    assert client.ask(path, signed(node.loop.seconds())) == plain
    assert client.ask(path, signed(node.loop.seconds() + CLOCKS_APART_S)) == plain


def test_equal_signed_requests_are_answered_on_the_fast_path() -> None:
    node = upper_node()
    client, began = node.client(), node.loop.seconds()
    assert not is_prepared(node, SMALL, signed(began))
    client.ask(SMALL, signed(began))
    assert is_prepared(node, SMALL, signed(began))
    node.pass_time(SAME_S - 1)
    assert not is_prepared(node, SMALL, signed(node.loop.seconds()))
    client.ask(SMALL, signed(began, "edge-2"))
    assert is_prepared(node, SMALL, signed(node.loop.seconds())), "the answer for another node is ready for this one"


def test_a_signature_that_has_expired_is_not_answered_from_memory() -> None:
    node = upper_node()
    field, last_s = signed(node.loop.seconds()), VALID_S + CLOCKS_APART_S
    node.pass_time(last_s - 1)
    assert node.client().ask(SMALL, field).status == 200
    assert is_prepared(node, SMALL, field)
    node.pass_time(2)
    node.client().ask(SMALL)
    assert not is_prepared(node, SMALL, field)
    assert node.client().ask(SMALL, field).status == 403


def test_signatures_that_change_do_not_fill_the_memory() -> None:
    node = upper_node()
    assert node.fast_path is not None
    for _ in range(20):
        for name in ("edge-1", "edge-2"):
            node.client().ask(SMALL, signed(node.loop.seconds(), name))
        assert len(node.fast_path.prepared._blocks) == 2
        node.pass_time(SAME_S)


WRONG = {
    "another secret": lambda now: signed(now, secret="another secret of others"),
    "garbage": lambda now: f"{HEADER}: edge-1",
    "empty": lambda now: f"{HEADER}:",
    "twice": lambda now: f"{signed(now)}\r\n{signed(now)}",
    "expired": lambda now: signed(now - VALID_S - CLOCKS_APART_S - 1),
    "far ahead": lambda now: signed(now + VALID_S + CLOCKS_APART_S + SAME_S),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("path", [SMALL, COLD, "/live/s/720p/index.m3u8", "/state", "/state/s", "/take/s"])
def test_a_wrong_signature_is_refused_whatever_is_asked_for(path: str, wrong: str) -> None:
    node = upper_node()
    node.client().ask(SMALL)
    client = node.client()
    answer = client.ask(path, WRONG[wrong](node.loop.seconds()), method="POST" if "take" in path else "GET")
    assert (answer.status, answer.fields["Cache-Control"]) == (403, "no-store")
    client.settle()
    assert client.is_closed


def test_what_is_wrong_is_said_once_a_minute_with_what_to_do() -> None:
    node = upper_node()
    with warnings() as said:
        for _ in range(5):
            node.client().ask(SMALL, WRONG["another secret"](node.loop.seconds()))
        assert said == [
            "request from 127.0.0.1 rejected for its signature: "
            "it is signed with another secret; give every node the same cluster.secret"
        ]
        node.pass_time(int(WARN_S))
        node.client().ask(SMALL, WRONG["expired"](node.loop.seconds()))
    assert len(said) == 2 and "edge-1 signed it more than 300 s ago" in said[1] and "clocks" in said[1]


@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "klein"])
@pytest.mark.parametrize("path", [SMALL, COLD, "/live/s/720p/index.m3u8", "/state/s"])
def test_where_viewers_ask_the_field_changes_nothing(path: str, is_hot: bool) -> None:
    edge = upper_node(is_hot=is_hot, checks=False)
    plain = edge.client().ask(path)
    for field in (signed(edge.loop.seconds()), *(wrong(edge.loop.seconds()) for wrong in WRONG.values())):
        assert edge.client().ask(path, field) == plain
