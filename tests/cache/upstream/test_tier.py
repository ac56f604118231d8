from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogEvent, formatEvent

from livestream.bus.announcements import encode, encode_document
from livestream.cache.fill import DigestMismatch
from livestream.cache.upstream.body_reader import SILENCE_S, UpstreamError
from livestream.cache.upstream.node import BACKOFF_S, REFUSED_BACKOFF_S
from livestream.cache.upstream.tier import BACKED_OFF_WAIT_S
from livestream.model.segments import Epoch, EpochBegan
from tests.cache.nodes import Above, Line, answer, info_of, outcome
from tests.logs import observed

DATA = bytes(range(256)) * 80
INFO = info_of(DATA)
NOT_THERE = answer(b"no", status="404 Not Found")
ALTERED = bytes([DATA[0] ^ 1]) + DATA[1:]


def rest_of(request: str, data: bytes = DATA) -> bytes:
    """What an honest node answers."""
    fields = dict(line.split(": ", 1) for line in request.splitlines()[1:])
    if "Range" not in fields:
        return answer(data)
    assert fields["If-Range"] == f'"{INFO.digest}"'
    start = int(fields["Range"].removeprefix("bytes=").removesuffix("-"))
    content_range = f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}"
    return answer(data[start:], content_range, status="206 Partial Content")


def serve(line: Line, data: bytes = DATA) -> None:
    line.say(rest_of(line.requests[-1], data))


def asked(above: Above) -> list[int]:
    return [len(node.requests) for node in above.nodes]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(DATA) + 40), min_size=1, max_size=3))
def test_a_fetch_goes_on_at_the_next_node_from_any_byte(cuts: list[int]) -> None:
    above = Above(len(cuts) + 1)
    fill, done = above.fetch(INFO)
    for node, cut in zip(above.nodes, cuts, strict=False):
        if done.called:
            break
        line = node.lines[0]
        line.say(rest_of(line.requests[0])[:cut])
        above.turn()
        line.cut()
        above.turn()
    if not done.called:
        serve(above.nodes[len(cuts)].lines[0])
        above.turn()
    assert done.called and outcome(done) is None
    assert fill.body.read(0, len(DATA)) == DATA
    assert above.leaves_nothing()


def test_no_byte_is_asked_for_twice() -> None:
    above = Above(2)
    above.fetch(INFO)
    above.nodes[0].lines[0].say(answer(DATA)[: -len(DATA) + 1234])
    above.turn()
    above.nodes[0].lines[0].cut()
    assert "Range: bytes=1234-" in above.nodes[1].requests[0]


def test_nodes_are_asked_in_order_until_one_has_it() -> None:
    above = Above(3)
    above.nodes[0].is_up = False
    _, done = above.fetch(INFO)
    above.nodes[1].lines[0].say(NOT_THERE)
    above.turn()
    serve(above.nodes[2].lines[0])
    above.turn()
    assert done.called and outcome(done) is None
    assert asked(above) == [0, 1, 1]


def test_when_none_has_it_that_is_said_once_and_nobody_is_asked_again() -> None:
    above = Above(2)
    _, done = above.fetch(INFO)
    for node in above.nodes:
        node.lines[0].say(NOT_THERE)
        above.turn()
    assert str(outcome(done)) == "http://node1 answered 404"
    assert asked(above) == [1, 1]


def test_a_node_that_failed_is_asked_last_for_a_while() -> None:
    above = Above(2)
    above.fetch(INFO)
    above.clock.advance(SILENCE_S + 0.1)
    assert asked(above) == [1, 1]
    serve(above.nodes[1].lines[0])
    above.turn()
    above.fetch(INFO)
    serve(above.nodes[1].lines[0])
    above.turn()
    assert asked(above) == [1, 2]
    above.clock.advance(BACKOFF_S)
    above.fetch(INFO)
    assert asked(above) == [2, 2]


def test_a_node_that_does_not_have_it_is_asked_first_all_the_same() -> None:
    above = Above(2)
    above.fetch(INFO)
    above.nodes[0].lines[0].say(NOT_THERE)
    above.turn()
    above.fetch(INFO)
    assert asked(above) == [2, 1]


def test_a_connection_that_had_been_closed_for_idleness_costs_one_more_request() -> None:
    above = Above(1)
    for _ in range(2):
        _, done = above.fetch(INFO)
        serve(above.nodes[0].lines[0])
        above.turn()
    _, done = above.fetch(INFO)
    above.nodes[0].lines[0].cut()
    serve(above.nodes[0].lines[1])
    above.turn()
    assert done.called and outcome(done) is None
    assert asked(above) == [4]


def test_a_node_that_breaks_off_every_time_is_not_asked_for_ever() -> None:
    above = Above(2)
    _, done = above.fetch(INFO)
    for _ in range(10):
        for node in above.nodes:
            for line in node.lines:
                if line.is_open:
                    line.say(rest_of(line.requests[0])[:200])
                    above.turn()
                    line.cut()
    assert isinstance(outcome(done), UpstreamError)
    assert asked(above) == [2, 2]


def test_a_small_object_that_one_node_altered_is_had_from_the_next() -> None:
    above = Above(2)
    fill, done = above.fetch(INFO)
    serve(above.nodes[0].lines[0], ALTERED)
    above.turn()
    serve(above.nodes[1].lines[0])
    above.turn()
    assert done.called and outcome(done) is None
    assert fill.body.read(0, len(DATA)) == DATA


def test_a_node_that_alters_what_it_gives_is_soon_asked_last_whoever_finished_for_it() -> None:
    above = Above(2)
    fill, done = above.fetch(INFO)
    altered = answer(ALTERED)
    above.nodes[0].lines[0].say(altered[:-10])
    above.turn()
    above.nodes[0].lines[0].say(altered[-10:])
    above.turn()
    serve(above.nodes[1].lines[0])
    above.turn()
    assert isinstance(outcome(done), DigestMismatch)
    assert fill.body.received == len(DATA) - 10
    fill, done = above.fetch(INFO)
    serve(above.nodes[1].lines[-1])
    above.turn()
    assert fill.body.read(0, len(DATA)) == DATA


def test_a_node_that_ignores_the_range_gives_all_of_it_again_and_only_the_rest_is_taken() -> None:
    above = Above(2)
    fill, done = above.fetch(INFO)
    above.nodes[0].lines[0].say(answer(DATA)[: -len(DATA) + 1234])
    above.turn()
    above.nodes[0].lines[0].cut()
    assert "Range: bytes=1234-" in above.nodes[1].requests[0]
    whole = answer(DATA)
    for start in range(0, len(whole), 700):
        above.nodes[1].lines[0].say(whole[start : start + 700])
        above.turn()
    assert done.called and outcome(done) is None
    assert fill.body.read(0, len(DATA)) == DATA
    assert asked(above) == [1, 1]
    assert above.leaves_nothing()


def test_what_is_not_as_announced_is_said_as_such_though_another_node_cannot_be_reached() -> None:
    above = Above(2)
    _, done = above.fetch(INFO)
    above.nodes[0].lines[0].say(answer(ALTERED)[: -len(DATA) + 1234])
    above.turn()
    above.nodes[0].is_up = False
    above.nodes[0].lines[0].cut()
    serve(above.nodes[1].lines[0])
    above.turn()
    assert isinstance(outcome(done), DigestMismatch)


def test_a_part_must_be_the_part_that_was_asked_for() -> None:
    for content_range in ("bytes 0-99/100", f"bytes 100-{len(DATA) - 1}/*", ""):
        above = Above(2)
        _, done = above.fetch(INFO)
        above.nodes[0].lines[0].say(answer(DATA)[: -len(DATA) + 100])
        above.turn()
        above.nodes[0].lines[0].cut()
        fields = [f"Content-Range: {content_range}"] if content_range else []
        above.nodes[1].lines[0].say(answer(DATA[100:], *fields, status="206 Partial Content"))
        above.turn()
        above.nodes[0].lines[1].say(NOT_THERE)
        above.turn()
        assert isinstance(outcome(done), UpstreamError)
        assert above.leaves_nothing()


def test_every_request_is_counted() -> None:
    above = Above(2)
    above.fetch(INFO)
    above.nodes[0].lines[0].say(NOT_THERE)
    above.turn()
    serve(above.nodes[1].lines[0])
    above.turn()
    counts = {
        outcome: above.metrics.upstream_requests.labels("segment", outcome)._value.get() for outcome in ("ok", "error")
    }
    assert counts == {"ok": 1, "error": 1}


def state(stream: str, epoch: int = 1) -> EpochBegan:
    return EpochBegan(stream, Epoch(epoch, 7))


def states(*streams: str) -> bytes:
    return answer(encode_document(state(stream) for stream in streams))


def test_another_order_is_followed_from_the_next_object_on_and_over_the_same_connections() -> None:
    above = Above(2)
    for order in ([0, 1], [1, 0], [0, 1]):
        above.order = order
        _, done = above.fetch(INFO)
        serve(above.nodes[order[0]].lines[-1])
        above.turn()
        assert done.called and outcome(done) is None
    assert asked(above) == [2, 1]
    assert [len(node.lines) for node in above.nodes] == [1, 1]


def test_an_object_that_is_on_its_way_goes_on_where_it_is_when_the_order_changes() -> None:
    above = Above(2)
    fill, done = above.fetch(INFO)
    above.nodes[0].lines[0].say(answer(DATA)[:-100])
    above.order = [1]
    above.turn()
    above.nodes[0].lines[0].say(answer(DATA)[-100:])
    above.turn()
    assert done.called and outcome(done) is None and fill.body.read(0, len(DATA)) == DATA
    assert asked(above) == [1, 0]


def test_a_first_choice_that_refused_is_asked_first_again_soon_after_it_is_back() -> None:
    above = Above(2)
    above.nodes[0].is_up = False
    for _ in range(2):
        above.fetch(INFO)
        serve(above.nodes[1].lines[0])
        above.turn()
    above.nodes[0].is_up = True
    above.clock.advance(REFUSED_BACKOFF_S)
    _, done = above.fetch(INFO)
    serve(above.nodes[0].lines[0])
    above.turn()
    assert done.called and outcome(done) is None
    assert asked(above) == [1, 2]


def test_a_refusal_costs_no_time() -> None:
    above = Above(2)
    above.nodes[0].is_up = False
    began = above.clock.seconds()
    _, done = above.fetch(INFO)
    serve(above.nodes[1].lines[0])
    above.turn()
    assert done.called and above.clock.seconds() == began


def test_a_node_that_is_gone_is_forgotten_when_another_comes() -> None:
    above = Above(3)
    for order in ([0], [1], [0], [1, 2], [0]):
        above.order = order
        _, done = above.fetch(INFO)
        serve(above.nodes[order[0]].lines[-1])
        above.turn()
        assert done.called
        above.clock.advance(1)
    assert above.made == [
        "http://node0",
        "http://node1",
        "http://node0",
        "http://node1",
        "http://node2",
        "http://node0",
    ]
    assert sum(line.is_open for node in above.nodes for line in node.lines) == 1


def test_no_node_at_all_is_said_as_such() -> None:
    above = Above(0)
    assert str(outcome(above.fetch(INFO)[1])) == "no upstream node is known"
    assert str(outcome(above.run(above.upstreams.states()))) == "no upstream node is known"


def test_the_states_of_all_nodes_are_put_together() -> None:
    above = Above(3)
    above.nodes[1].is_up = False
    told = above.run(above.upstreams.states())
    above.nodes[2].lines[0].say(states("b"))
    above.nodes[0].lines[0].say(states("a", "c"))
    above.turn()
    assert outcome(told) == [state("a"), state("c"), state("b")]


def test_what_one_node_does_not_know_another_may() -> None:
    above = Above(2)
    told = above.run(above.upstreams.state("show"))
    above.nodes[0].lines[0].say(NOT_THERE)
    above.nodes[1].lines[0].say(answer(encode(state("show"))))
    above.turn()
    assert outcome(told) == [state("show")]
    assert above.leaves_nothing()


def test_a_node_that_failed_lately_keeps_nobody_waiting_for_what_the_others_know() -> None:
    above = Above(2)
    above.nodes[0].is_frozen = True
    told = above.run(above.upstreams.states())
    above.nodes[1].lines[0].say(states("a"))
    above.clock.advance(SILENCE_S)
    assert outcome(told) == [state("a")]
    told = above.run(above.upstreams.states())
    above.nodes[1].lines[0].say(states("a"))
    above.clock.advance(BACKED_OFF_WAIT_S)
    assert outcome(told) == [state("a")]


def test_whoever_does_not_want_to_wait_any_longer_gets_what_was_answered() -> None:
    above = Above(2)
    told = above.run(above.upstreams.states())
    above.nodes[1].lines[0].say(states("a"))
    above.turn()
    told.cancel()
    assert outcome(told) == [state("a")]
    above.turn()
    assert above.leaves_nothing()


def test_a_node_that_fails_for_long_is_spoken_of_once_and_again_when_it_serves() -> None:
    said: list[str] = []

    def observer(event: LogEvent) -> None:
        if event["log_namespace"].startswith("livestream"):
            said.append(formatEvent(event))

    with observed(observer):
        above = Above(1)
        above.nodes[0].is_up = False
        for _ in range(5):
            _, refused = above.fetch(INFO)
            above.clock.advance(REFUSED_BACKOFF_S)
            assert isinstance(outcome(refused), UpstreamError)
        above.nodes[0].is_up = True
        for _ in range(2):
            above.fetch(INFO)
            serve(above.nodes[0].lines[0])
            above.turn()
    assert said == [
        "upstream http://node0 refused the connection; trying the others first",
        "upstream http://node0 recovered",
    ]


def test_of_several_nodes_what_each_answers_at_once_is_told_apart() -> None:
    above = Above(5)
    above.nodes[1].is_up = False
    above.nodes[2].is_frozen = True
    asked = above.run(above.upstreams.each("/epochs", above.every_url(), 0.4))
    above.nodes[0].lines[0].say(answer(b"zero"))
    above.nodes[3].lines[0].say(NOT_THERE)
    above.turn()
    assert not asked.called
    above.nodes[4].lines[0].say(answer(b"four")[:-1])
    above.clock.advance(0.4)
    assert outcome(asked) == {"http://node0": b"zero"}
    assert above.leaves_nothing()


def test_when_all_have_answered_nobody_is_waited_for() -> None:
    above = Above(2)
    asked = above.run(above.upstreams.each("/epochs", above.every_url(), 0.4))
    for node in above.nodes:
        node.lines[0].say(answer(b"it"))
    above.turn()
    assert outcome(asked) == dict.fromkeys(above.every_url(), b"it")
    assert above.leaves_nothing()


def test_a_node_is_asked_for_what_has_changed_since_its_last_whole_answer() -> None:
    above = Above(1)
    node = above.nodes[0]

    def asked_with(fields: str, body: bytes = b"", cut: int | None = None) -> str:
        """How the node is asked; it then gives an answer with these fields, up to a byte."""
        told = above.run(above.upstreams.states())
        request, line = node.requests[-1], node.lines[-1]
        line.say(answer(body, fields)[:cut])
        if cut is not None:
            line.cut()
        above.turn()
        assert told.called
        outcome(told)
        return request.split()[1]

    assert asked_with("X-Livestream-State: ab-2", encode(state("a")), cut=-1) == "/state?since="
    assert asked_with("X-Livestream-State: ab-2", encode(state("a"))) == "/state?since="
    assert asked_with("X-Livestream-State: ab-3&more=1") == "/state?since=ab-2"
    assert asked_with("X-Livestream-State: ab-4") == "/state?since="
    above.upstreams.start_over()
    assert asked_with("X-Livestream-State: ab-4") == "/state?since="
