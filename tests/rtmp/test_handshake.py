"""The handshake of both ends: whole, byte by byte, and with those who speak something else."""

from __future__ import annotations

import pytest

from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.handshake import SIZE, ClientHandshake, ServerHandshake

C1 = bytes(range(256)) * 6
HELLO = b"\x03" + C1
C2 = b"\xff" * SIZE


def test_s0_s1_and_s2_go_out_as_soon_as_c1_is_here_and_not_before() -> None:
    server = ServerHandshake(b"nonce")
    assert server.receive(HELLO[:-1]) == b""
    answer = server.receive(HELLO[-1:])
    assert len(answer) == 1 + 2 * SIZE
    assert answer[0] == 3
    assert answer[1 + SIZE :] == C1
    assert not server.done


def test_the_version_in_s1_is_zero_whatever_digest_the_client_speaks_of() -> None:
    hello = b"\x03" + b"\x00\x00\x00\x00\x80\x00\x07\x02" + bytes(SIZE - 8)
    assert ServerHandshake(b"nonce").receive(hello)[1:9] == bytes(8)


def test_a_c2_that_echoes_nothing_is_accepted_and_what_follows_is_kept() -> None:
    server = ServerHandshake(b"nonce")
    server.receive(HELLO)
    assert server.receive(C2 + b"connect") == b""
    assert server.done and server.rest == b"connect"


@pytest.mark.parametrize("step", [1, 7, 1536, 1537, 4000])
def test_however_the_bytes_come_the_answer_is_the_same(step: int) -> None:
    server, data, answer, rest = ServerHandshake(b"nonce"), HELLO + C2 + b"rest", b"", b""
    for at in range(0, len(data), step):
        if server.done:
            rest += data[at : at + step]
        else:
            answer += server.receive(data[at : at + step])
    assert answer == ServerHandshake(b"nonce").receive(HELLO)
    assert server.done and server.rest + rest == b"rest"


@pytest.mark.parametrize("step", [1, 1536, 10_000])
def test_the_two_ends_shake_hands(step: int) -> None:
    client, server = ClientHandshake(b"client"), ServerHandshake(b"server")
    down = server.receive(client.hello())
    up = b"".join(client.receive(down[at : at + step]) for at in range(0, len(down), step))
    assert client.done and len(up) == SIZE
    server.receive(up)
    assert server.done and server.rest == b""


def test_the_client_echoes_s1_and_keeps_what_follows() -> None:
    client = ClientHandshake(b"client")
    assert client.receive(b"\x03" + C1 + bytes(SIZE) + b"more") == C1
    assert client.rest == b"more"


def test_two_nonces_make_two_handshakes() -> None:
    assert ClientHandshake(b"one").hello() != ClientHandshake(b"two").hello()


@pytest.mark.parametrize("end", [ServerHandshake(b"nonce"), ClientHandshake(b"nonce")], ids=["server", "client"])
def test_who_does_not_speak_rtmp_is_found_out_by_the_first_byte(end: ServerHandshake | ClientHandshake) -> None:
    with pytest.raises(RemoteProtocolError):
        end.receive(b"H")
