"""Requests that two servers might read in two ways, sent to nginx, to Varnish and to us: we are never the laxest."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hls.edge import Edge
from tests.ports import free_port

NGINX = """\
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{ }}
http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ return 404; }} }} }}
"""
VARNISH = "vcl 4.1; backend none none; sub vcl_recv { return (synth(404)); }"

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = GET + b"Transfer-Encoding: chunked\r\n\r\n"

SHAPES = {
    "both lengths": GET + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": GET + b"Content-Length: 0\r\nContent-Length: 4\r\n\r\nabcd",
    "equal lengths": GET + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "signed length": GET + b"Content-Length: +0\r\n\r\n",
    "list of lengths": GET + b"Content-Length: 0, 0\r\n\r\n",
    "hexadecimal length": GET + b"Content-Length: 0x0\r\n\r\n",
    "negative length": GET + b"Content-Length: -1\r\n\r\n",
    "unknown coding": GET + b"Transfer-Encoding: xchunked\r\n\r\n",
    "coding after coding": GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity after chunked": GET + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "vertical tab": GET + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "folded": GET + b"X: a\r\n b\r\n\r\n",
    "space before colon": GET + b"X : a\r\n\r\n",
    "space before name": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: h\n\n",
    "a bare line feed": GET + b"X: a\nContent-Length: 4\r\n\r\nabcd",
    "a bare carriage return": GET + b"X: a\rContent-Length: 4\r\n\r\nabcd",
    "nul": GET + b"X: a\x00b\r\n\r\n",
    "nul in a name": GET + b"X\x00: a\r\n\r\n",
    "no colon": GET + b"X\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: i\r\n\r\n",
    "odd host": b"GET / HTTP/1.1\r\nHost: h/i\r\n\r\n",
    "space in target": b"GET / / HTTP/1.1\r\nHost: h\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "no version": b"GET /\r\nHost: h\r\n\r\n",
    "later version": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "odd version": b"GET / HTTP/1.1x\r\nHost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "hexadecimal chunk": CHUNKED + b"0x0\r\n\r\n",
    "underscored chunk": CHUNKED + b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
    "negative chunk": CHUNKED + b"-1\r\n\r\n",
    "long chunk": CHUNKED + b"f" * 20 + b"\r\n",
    "line feed in an extension": CHUNKED + b"0;a\nb\r\n\r\n",
    "bare line feed in a trailer": CHUNKED + b"0\r\nX: a\nY: b\r\n\r\n",
    "no end of a chunk": CHUNKED + b"1\r\nab0\r\n\r\n",
}


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of those of nginx and Varnish that are installed."""
    folder = tmp_path_factory.mktemp("peers")
    ports = {"nginx": free_port(), "varnishd": free_port()}
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=ports["nginx"]))
    (folder / "none.vcl").write_text(VARNISH)
    listen = f"127.0.0.1:{ports['varnishd']}"
    commands = {
        "nginx": ["-p", folder, "-c", folder / "nginx.conf"],
        "varnishd": [
            "-j",
            "none",
            "-F",
            "-a",
            listen,
            "-f",
            folder / "none.vcl",
            "-n",
            folder / "varnish",
            "-s",
            "malloc,10m",
        ],
    }
    found = {name: path for name in ports if (path := shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin"))}
    if not found:
        pytest.skip("neither nginx nor varnish is installed: apt-get install nginx varnish")
    servers = [start(path, commands[name], ports[name], folder) for name, path in found.items()]
    yield {name: ports[name] for name in found}
    for server in servers:
        server.terminate()
        server.wait()


def start(path: str, words: list[object], port: int, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "output").open("w") as output:
        server = subprocess.Popen([path, *map(str, words)], stdout=output, stderr=output)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return server
    server.kill()
    pytest.skip(f"{path} does not start here: {(folder / 'output').read_text()[-300:]}")


def taken_by(port: int, data: bytes) -> int:
    """How many requests a peer took: answers other than refusals."""
    answers = b""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(data)
        connection.settimeout(0.3)
        try:
            while part := connection.recv(65536):
                answers += part
        except (TimeoutError, ConnectionResetError):
            pass
    return answers.count(b"HTTP/1.1 404")


def taken_by_us(data: bytes) -> int:
    client = Edge().client()
    client.send(data)
    return client.settle().count(b"HTTP/1.1 404")


def test_a_plain_request_and_the_next_are_taken_by_all(peers: dict[str, int]) -> None:
    data = GET + b"\r\n" + SMUGGLED
    assert {name: taken_by(port, data) for name, port in peers.items()} == dict.fromkeys(peers, 2)
    assert taken_by_us(data) == 2


@pytest.mark.parametrize("shape", SHAPES)
def test_we_take_no_more_of_it_than_they_do(peers: dict[str, int], shape: str) -> None:
    data = SHAPES[shape] + SMUGGLED
    assert taken_by_us(data) <= min(taken_by(port, data) for port in peers.values())


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_after_it_is_taken(shape: str) -> None:
    assert taken_by_us(SHAPES[shape] + SMUGGLED) == 0
