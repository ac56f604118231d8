"""What an HTTP connection can take of everybody's memory and time before anything is known of it."""

from __future__ import annotations

import contextlib

import pytest

from livestream.http.connection import READ_BYTES
from livestream.http.head_reader import LINGER_BYTES, TURN_HEADS
from livestream.http.limits import ConnectionLimits, HttpLimits
from tests.hls.edge import Edge
from tests.hls.windows import EPOCH, window_of
from tests.http.wire import request, responses, wait_until

SMALL = f"/live/s/720p/{EPOCH}-1.m4s"


def edge(limits: ConnectionLimits | None = None) -> Edge:
    made = Edge(is_hot=True)
    if limits is not None:
        made.site.limits = HttpLimits(per_connection=limits)
    made.library.put("s", "720p", f"{EPOCH}-1.m4s", b"small")
    made.windows.put("s", window_of("s"))
    return made


def test_a_turn_serves_a_bounded_number_of_pipelined_requests_and_others_in_between() -> None:
    made = edge()
    greedy, other = made.client(), made.client()
    count = READ_BYTES // len(request(SMALL))
    greedy.socket.send(request(SMALL) * count)
    other.socket.send(request(SMALL))
    while not other.received:
        other.step()
    assert greedy.channel.requests_seen <= 3 * TURN_HEADS < count
    assert len(responses(greedy.settle(), ["GET"] * count)) == count


@pytest.mark.parametrize("whole", [TURN_HEADS - 1, TURN_HEADS, TURN_HEADS + 1])
def test_a_head_that_has_not_ended_when_the_turn_does_is_waited_for(whole: int) -> None:
    client = edge().client()
    client.send(request(SMALL) * whole + request(SMALL)[:20])
    client.settle()
    client.send(request(SMALL)[20:])
    assert len(responses(client.settle(), ["GET"] * (whole + 1))) == whole + 1


def test_heads_that_do_not_end_hold_a_bounded_sum_and_small_ones_are_served_all_the_same() -> None:
    made = edge(ConnectionLimits(held_bytes=100_000))
    greedy = [made.client() for _ in range(20)]
    for client in greedy:
        client.send(request(SMALL)[:-2] + b"X: " + b"x" * 8000)
    assert made.site.held_bytes <= 100_000
    assert 5 < sum(client.is_closed for client in greedy) < 15
    assert made.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": "held_bytes"}) is not None
    small = made.client()
    small.send(request(SMALL)[:-2] + b"X: " + b"x" * 3000)
    small.send(b"\r\n\r\n")
    wait_until(small, lambda: b"small" in small.received)
    for client in greedy:
        client.socket.close()
    while made.loop.turn():
        pass
    assert made.site.held_bytes == 0


def test_who_goes_on_sending_after_a_refusal_is_cut_off() -> None:
    made = edge()
    client = made.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n")
    wait_until(client, lambda: client.received.startswith(b"HTTP/1.1 400 "))
    sent = 0
    with pytest.raises(ConnectionError):
        while sent < 16 * LINGER_BYTES:
            with contextlib.suppress(BlockingIOError):
                sent += client.socket.send(bytes(65_536))
            made.loop.turn()
    assert sent > LINGER_BYTES and not made.site.connections
