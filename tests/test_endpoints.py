"""Endpoints are read strictly, and as Twisted reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import endpoints as twisted_endpoints

from livestream.endpoints import parse

KINDS = st.sampled_from(["tcp:8080", "tcp6:1", "ssl:443", "unix:/run/x", "systemd:INET", "tcp", "unix", "x"])
NAMED = [
    "interface=127.0.0.1",
    r"interface=\:\:1",
    "backlog=50",
    "port=1",
    "mode=660",
    "lockfile=1",
    "address=x",
    "x=1",
]
ODD = ["127.0.0.1", "50", "privateKey=a=b", "index=0", "index=x", "name=a\\", "name=", "=", "", r"a\=b", r"\\"]
ARGUMENTS = st.sampled_from(NAMED) | st.sampled_from(ODD)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("tcp:8080", {"port": "8080"}),
        ("tcp:8080:interface=127.0.0.1", {"port": "8080", "interface": "127.0.0.1"}),
        ("tcp:8080:127.0.0.1:50", {"port": "8080", "interface": "127.0.0.1", "backlog": "50"}),
        ("tcp:port=0:backlog=4096", {"port": "0", "backlog": "4096"}),
        (r"tcp:1:interface=\:\:1", {"port": "1", "interface": "::1"}),
        (r"tcp:1:interface=fe80\:\:1%eth0", {"port": "1", "interface": "fe80::1%eth0"}),
        ("tcp6:8080:77", {"port": "8080", "backlog": "77"}),
        ("tcp:8080:interface=", {"port": "8080", "interface": ""}),
        ("ssl:443:privateKey=a.pem:certKey=b.pem", {"port": "443", "privateKey": "a.pem", "certKey": "b.pem"}),
        (r"unix:/run/a\=b:mode=660:lockfile=0", {"address": "/run/a=b", "mode": "660", "lockfile": "0"}),
        ("systemd:domain=INET:index=0", {"domain": "INET", "index": "0"}),
    ],
)
def test_an_endpoint_is_its_kind_and_its_arguments(text: str, arguments: dict[str, str]) -> None:
    assert parse(text).arguments == arguments
    assert parse(text).kind == text.partition(":")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write tcp:PORT"),
        ("8080", "write tcp:PORT"),
        ("TCP:8080", "write tcp:PORT"),
        ("interface=127.0.0.1:tcp:8080", "write tcp:PORT"),
        ("tcp", "tcp needs port"),
        ("tcp:", "a port is"),
        ("tcp:65536", "a port is"),
        ("tcp:99999", "a port is"),
        ("tcp:" + "9" * 5000, "a port is"),
        ("tcp:-1", "a port is"),
        ("tcp:+1", "a port is"),
        ("tcp:1_0", "a port is"),
        ("tcp: 1", "a port is"),
        ("tcp:\N{SUPERSCRIPT TWO}", "a port is"),
        ("tcp:\N{FULLWIDTH DIGIT ONE}", "a port is"),
        ("tcp:1:interface=127.0.0.1:interface=0.0.0.0", "interface is given twice"),
        ("tcp:1:127.0.0.1:interface=0.0.0.0", "interface is given twice"),
        ("tcp:1:port=2", "port is given twice"),
        ("tcp:1:interfaces=127.0.0.1", "no other"),
        ("tcp:1:127.0.0.1:50:50", "no other"),
        ("tcp:1:=", "no other"),
        ("tcp:1:interface=::1", "a colon in a value is written"),
        (r"tcp:1:interface=[\:\:1]", "an interface is"),
        ("tcp:1:interface=a b", "an interface is"),
        ("tcp:1:backlog=0", "a backlog is"),
        ("tcp:1\\", "a backslash"),
        ("tcp:" + r"\=x" * 1000, "a port is"),
        ("unix:", "a path must"),
        ("unix:/a:mode=999", "a mode is"),
        ("unix:/a=b", "no other"),
        ("ssl:443:sslmethod=x", "a method is"),
        ("systemd:domain=X:index=0", "a domain is"),
        ("systemd:domain=INET", "either index or name"),
        ("systemd:domain=INET:index=0:name=x", "either index or name"),
    ],
)
def test_what_is_no_endpoint_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)


@settings(deadline=None, max_examples=300)
@given(KINDS, st.lists(ARGUMENTS, max_size=4))
def test_what_is_read_here_twisted_reads_in_the_same_way(kind_and_port: str, more: list[str]) -> None:
    text = ":".join([kind_and_port, *more])
    try:
        endpoint = parse(text)
    except ValueError:
        return
    (kind, *places), named = twisted_endpoints._parse(text)
    assert kind == endpoint.kind
    assert {**endpoint.arguments, **named} == endpoint.arguments
    assert [value for name, value in endpoint.arguments.items() if name not in named] == places


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("tcp:1:interface=127.0.0.1", True),
        ("tcp:1:127.9.9.9", True),
        (r"tcp6:1:interface=\:\:1", True),
        ("tcp:1:interface=localhost", True),
        ("unix:/run/x", True),
        ("tcp:1", False),
        ("tcp:1:interface=", False),
        ("tcp:1:interface=0.0.0.0", False),
        ("tcp:1:interface=127.example", False),
        (r"tcp6:1:interface=\:\:ffff\:192.0.2.1", False),
        ("systemd:domain=INET:index=0", False),
    ],
)
def test_only_who_is_on_this_machine_reaches_a_loopback_endpoint(text: str, is_loopback: bool) -> None:
    assert parse(text).is_loopback is is_loopback


def test_the_files_of_an_endpoint_are_those_that_twisted_opens() -> None:
    assert parse("tcp:1").files == []
    assert parse("ssl:1").files == ["server.pem"]
    assert parse("ssl:1:certKey=c.pem").files == ["server.pem", "c.pem"]
    assert parse("ssl:1:privateKey=k.pem:dhParameters=d.pem").files == ["k.pem", "d.pem"]
