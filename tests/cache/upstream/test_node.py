from __future__ import annotations

import gzip

import pytest
from twisted.internet.defer import CancelledError

from livestream.bus.announcements import encode
from livestream.cache.fill import DigestMismatch
from livestream.cache.upstream.body_reader import SILENCE_S, SLOWEST_BYTES_S, UpstreamError
from livestream.cache.upstream.connections import HEAD_BYTES, IDLE_S
from livestream.cache.upstream.node import MOST_SILENCE_S, OVERTAKEN_S, NotFound
from livestream.model.segments import Epoch, EpochBegan
from livestream.signing import HEADER, SAME_S, Credentials
from tests.cache.nodes import KEY, Above, answer, info_of, outcome

DATA = bytes(range(256)) * 1024
INFO = info_of(DATA)
TAG = f'ETag: "{INFO.digest}"'
PART = "206 Partial Content"


def test_an_object_is_asked_for_by_its_path_and_arrives() -> None:
    above = Above(1)
    fill, done = above.fetch(INFO)
    line = above.nodes[0].lines[0]
    assert line.requests[0].splitlines() == ["GET /live/show/source/1-7.m4s HTTP/1.1", "Host: node0"]
    line.say(answer(DATA, TAG))
    above.turn()
    assert done.called and outcome(done) is None
    assert fill.body.read(0, len(DATA)) == DATA
    assert above.leaves_nothing()


def test_bytes_are_there_the_moment_they_arrive() -> None:
    above = Above(1)
    fill, done = above.fetch(INFO)
    line = above.nodes[0].lines[0]
    whole = answer(DATA)
    line.say(whole[:-1000])
    above.turn()
    assert fill.body.received == len(DATA) - 1000
    line.say(whole[-1000:-999])
    assert fill.body.received == len(DATA) - 999
    assert not done.called


HOSTILE = {
    "404": answer(b"no", status="404 Not Found"),
    "403": answer(b"no", status="403 Forbidden"),
    "500": answer(b"no", status="500 Oops"),
    "a redirect": answer(b"", "Location: http://elsewhere/", status="302 Found"),
    "a part that nobody asked for": answer(DATA, f"Content-Range: bytes 0-{len(DATA) - 1}/{len(DATA)}", status=PART),
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "garbage": b"\x00\x01\x02 SSH-2.0\r\n\r\n" * 10,
    "no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "too short": answer(DATA[:-1]),
    "too long": answer(DATA + b"x"),
    "two lengths": answer(DATA, f"Content-Length: {len(DATA) - 1}"),
    "a length that is no number": answer(DATA).replace(b"Content-Length: ", b"Content-Length: +"),
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + DATA,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n" % len(DATA)
    + DATA
    + b"\r\n0\r\n\r\n",
    "chunks with a length": answer(b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "an encoding": answer(DATA, "Content-Encoding: gzip"),
    "another object": answer(DATA, f'ETag: "{"0" * 64}"'),
    "an altered object": answer(DATA[:-1] + b"x"),
    "a header that does not end": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000,
    "a line that does not end": b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 100_000,
    "interim answers without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * (HEAD_BYTES // 20),
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_is_not_the_object_is_refused_and_leaves_nothing(said: bytes) -> None:
    above = Above(1)
    fill, done = above.fetch(INFO)
    for line in above.nodes[0].lines:  # one whose connection was closed is asked a second time
        line.say(said)
        above.turn()
    assert isinstance(outcome(done), UpstreamError | DigestMismatch)
    assert len(above.nodes[0].requests) <= 2
    assert fill.body.received < len(DATA)
    assert above.leaves_nothing()


def test_fields_for_others_are_of_no_consequence() -> None:
    above = Above(1)
    fill, done = above.fetch(INFO)
    above.nodes[0].lines[0].say(answer(DATA, "Set-Cookie: a=b", "Cache-Control: no-store", 'ETag: W/"x"'))
    above.turn()
    assert done.called and outcome(done) is None and fill.body.received == len(DATA)


def test_one_who_never_answers_is_left_after_a_while() -> None:
    for is_frozen in (True, False):
        above = Above(1)
        above.nodes[0].is_frozen = is_frozen
        _, done = above.fetch(INFO)
        above.clock.advance(SILENCE_S + 0.1)
        assert isinstance(outcome(done), UpstreamError)
        assert above.leaves_nothing()


def test_one_who_was_too_slow_gets_more_time_until_it_answers_soon() -> None:
    above = Above(1)
    for allowed_s in (SILENCE_S, 2 * SILENCE_S, MOST_SILENCE_S):
        _, done = above.fetch(INFO)
        above.clock.advance(allowed_s - 0.1)
        assert not done.called
        above.clock.advance(0.2)
        assert isinstance(outcome(done), UpstreamError)
    for answered_after_s, allowed_s in ((1.5, 3.0), (0.1, SILENCE_S)):
        _, done = above.fetch(INFO)
        above.clock.advance(answered_after_s)
        line = above.nodes[0].lines[-1]
        line.say(answer(DATA))
        above.turn()
        assert outcome(done) is None
        line.cut()
        _, done = above.fetch(INFO)
        above.clock.advance(allowed_s - 0.1)
        assert not done.called
        done.addErrback(lambda _: None)
        done.cancel()
        above.turn()


def test_who_answers_what_was_asked_later_is_asked_again_over_another_connection() -> None:
    above = Above(1)
    other = bytes(reversed(DATA))
    _, first = above.fetch(INFO)
    above.clock.advance(OVERTAKEN_S + 0.1)
    _, second = above.fetch(info_of(other, "1-8.m4s"))
    lost, alive = above.nodes[0].lines
    alive.say(answer(other))
    above.turn()
    assert outcome(second) is None and not first.called and not lost.is_open
    again = above.nodes[0].lines[-1]
    assert again is not lost and again.requests[-1:] == lost.requests
    above.clock.advance(OVERTAKEN_S + 0.1)
    _, third = above.fetch(info_of(other, "1-9.m4s"))
    alive.say(answer(other))
    above.turn()
    assert third.called and outcome(third) is None and not first.called and again.is_open
    again.say(answer(DATA))
    above.turn()
    assert outcome(first) is None
    assert above.nodes[0].observer.told == [("http://node0", True)] * 4


def test_one_who_falls_silent_is_left_after_a_while() -> None:
    above = Above(1)
    _, done = above.fetch(INFO)
    above.nodes[0].lines[0].say(answer(DATA)[:-1000])
    above.turn()
    above.clock.advance(SILENCE_S - 0.1)
    assert not done.called
    above.clock.advance(0.2)
    assert "stopped sending" in str(outcome(done))
    assert above.leaves_nothing()


def test_one_who_drips_is_left_when_the_object_should_long_be_here() -> None:
    above = Above(1)
    _, done = above.fetch(INFO)
    line = above.nodes[0].lines[0]
    line.say(answer(DATA)[: -len(DATA)])
    above.turn()
    for second in range(100):
        if done.called:
            break
        line.say(DATA[second : second + 1])
        above.clock.advance(1)
    assert second <= SILENCE_S + len(DATA) / SLOWEST_BYTES_S + 1
    assert "slow" in str(outcome(done))
    assert above.leaves_nothing()


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\n", answer(DATA)[:-1000]], ids=["nothing", "some head", "some body"]
)
def test_a_fetch_that_is_cancelled_closes_its_connection(said: bytes) -> None:
    above = Above(2)
    _, done = above.fetch(INFO)
    above.nodes[0].lines[0].say(said)
    above.turn()
    done.cancel()
    assert isinstance(outcome(done), CancelledError)
    assert above.nodes[1].lines == []
    assert above.leaves_nothing()


def test_connections_are_used_again_until_they_were_idle_for_long() -> None:
    above = Above(1)
    for _ in range(5):
        _, done = above.fetch(INFO)
        above.nodes[0].lines[-1].say(answer(DATA))
        above.turn()
        assert outcome(done) is None
    assert [len(line.requests) for line in above.nodes[0].lines] == [5]
    above.clock.advance(IDLE_S)
    assert above.leaves_nothing()


def test_a_connection_may_be_used_again_from_within_the_last_bytes_of_an_answer() -> None:
    above = Above(1)
    _, first = above.fetch(INFO)
    first.addCallback(lambda _: above.fetch(INFO)[1])
    line = above.nodes[0].lines[0]
    line.say(answer(DATA)[: -HEAD_BYTES * 2])
    above.turn()
    line.say(answer(DATA)[-HEAD_BYTES * 2 :])
    line.say(answer(DATA))
    above.turn()
    assert first.called and outcome(first) is None
    assert [len(each.requests) for each in above.nodes[0].lines] == [2]


STATE = EpochBegan("show", Epoch(1, 7))


def test_a_document_is_read_whole_or_is_not_there() -> None:
    above = Above(1)
    for said, expected in (
        (answer(encode(STATE)), [STATE]),
        (answer(b"no", status="404 Not Found"), []),
    ):
        asked = above.run(above.upstreams.state("show"))
        above.nodes[0].lines[-1].say(said)
        above.turn()
        assert asked.called and outcome(asked) == expected
    assert above.leaves_nothing()


BAD_DOCUMENTS = {
    "not ours": answer(b"{}"),
    "not JSON": answer(b"\xff{"),
    "compressed": answer(gzip.compress(encode(STATE)), "Content-Encoding: gzip"),
    "500": answer(b"", status="500 Oops"),
    "too long": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (17 << 20),
}


@pytest.mark.parametrize("said", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_a_document_that_cannot_be_read_is_had_from_another_node(said: bytes) -> None:
    above = Above(2)
    asked = above.run(above.upstreams.state("show"))
    above.nodes[0].lines[0].say(said)
    above.turn()
    above.nodes[1].lines[0].say(answer(encode(STATE)))
    above.turn()
    assert outcome(asked) == [STATE]
    assert above.leaves_nothing()


def test_who_gives_an_object_or_does_not_have_it_has_answered() -> None:
    above = Above(1)
    node = above.nodes[0]
    above.fetch(INFO)
    node.lines[0].say(answer(DATA, TAG))
    above.turn()
    _, missing = above.fetch(INFO)
    node.lines[-1].say(HOSTILE["404"])
    above.turn()
    assert isinstance(outcome(missing), NotFound)
    assert node.observer.told == [("http://node0", True)] * 2


@pytest.mark.parametrize("is_frozen", [True, False], ids=["silent", "down"])
def test_who_cannot_be_reached_has_not_answered(is_frozen: bool) -> None:
    above = Above(1)
    node = above.nodes[0]
    node.is_up, node.is_frozen = is_frozen, is_frozen
    _, done = above.fetch(INFO)
    above.clock.advance(SILENCE_S)
    assert isinstance(outcome(done), UpstreamError)
    assert node.observer.told == [("http://node0", False)]


def test_who_gives_another_thing_or_stops_in_the_middle_has_not_answered() -> None:
    above = Above(1)
    node = above.nodes[0]
    for said in (HOSTILE["500"], HOSTILE["another object"], answer(DATA)[:-1000]):
        _, done = above.fetch(INFO)
        node.lines[-1].say(said)
        above.turn()
        above.clock.advance(SILENCE_S)
        assert isinstance(outcome(done), UpstreamError)
    assert node.observer.told == [("http://node0", False)] * 3


def test_of_a_request_that_nobody_wants_any_more_nothing_is_said() -> None:
    above = Above(1)
    _, done = above.fetch(INFO)
    done.addErrback(lambda _: None)
    done.cancel()
    above.turn()
    assert above.nodes[0].observer.told == []


SECRET = "the secret of these tests"


def signing(count: int) -> Above:
    """Nodes that are asked with a signature."""
    above = Above(count)
    for node in above.nodes:
        node.credentials = Credentials("edge-1", SECRET, above.clock.seconds)
    return above


def test_every_request_is_signed_and_those_of_half_a_minute_are_equal() -> None:
    above = signing(1)
    for _ in range(2):
        above.fetch(INFO)
        above.nodes[0].lines[-1].say(answer(DATA))
        above.turn()
    first, second = above.nodes[0].requests
    field = f"{HEADER}: {above.nodes[0].credentials.headers()[HEADER][0]}"
    assert first == second and field in first.splitlines()
    for work in (above.upstreams.state("show"), above.upstreams.post("http://node0", "/taken/show?epoch=1")):
        above.run(work)
        above.nodes[0].lines[-1].say(answer(b""))
        above.turn()
        assert field in above.nodes[0].requests[-1].splitlines()
    above.clock.advance(SAME_S)
    above.fetch(INFO)
    assert HEADER in above.nodes[0].requests[-1] and field not in above.nodes[0].requests[-1]


def test_one_that_refuses_the_signature_is_passed_over_with_the_reason_and_not_taken_for_one_that_has_nothing() -> None:
    above = signing(2)
    fill, done = above.fetch(INFO)
    above.nodes[0].lines[0].say(HOSTILE["403"])
    above.turn()
    above.nodes[1].lines[0].say(answer(DATA))
    above.turn()
    assert outcome(done) is None and fill.body.received == len(DATA)
    assert above.nodes[0].observer.told == [("http://node0", False)]
    above.order = [0]
    for work in (
        above.upstreams.fetch(KEY, INFO, lambda: 0, fill.append),
        above.upstreams.state("show"),
        above.upstreams.post("http://node0", "/taken/show?epoch=1"),
    ):
        asked = above.run(work)
        above.nodes[0].lines[-1].say(HOSTILE["403"])
        above.turn()
        error = outcome(asked)
        assert isinstance(error, UpstreamError) and "cluster.secret" in str(error) and "clocks" in str(error)
    assert above.leaves_nothing()


@pytest.mark.parametrize("url", ["http://[", "http://]a["])
def test_one_with_an_address_that_is_none_has_not_answered(url: str) -> None:
    above = Above(1)
    node = above.nodes[0].upstream(url)
    assert isinstance(outcome(above.run(node.document("/state"))), UpstreamError)
    assert node.is_backed_off
    assert above.nodes[0].observer.told == [(url, False)]
