"""Hosts and URLs, as they are written and as they are shown."""

from __future__ import annotations

import pytest

from livestream.urls import check_redis, split_authority, split_url, without_password

LONGEST = ".".join(["x" * 63] * 3 + ["x" * 61])


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("a", "a", None),
        ("A.b_c-d:8080", "a.b_c-d", 8080),
        ("a.example.", "a.example", None),
        ("a.example.:443", "a.example", 443),
        ("x" * 63 + ".y", "x" * 63 + ".y", None),
        (LONGEST, LONGEST, None),
        (f"{LONGEST}.:0", LONGEST, 0),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
        ("[2001:DB8:0::1]:80", "2001:db8::1", 80),
        ("[::]", "::", None),
        ("a:", "a", None),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
    ],
)
def test_a_host_is_a_name_or_an_address(text: str, host: str, port: int | None) -> None:
    assert split_authority(text) == (host, port)


WRONG_HOSTS = [
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a..",
    "x" * 64,
    f"a.{'x' * 64}.b",
    f"x{LONGEST}",
    f"{'x.' * 127}x",
    "x" * 16000,
    "a:65536",
    "a:99999",
    "a:000080",
    "a:-1",
    "a:8o",
    "a:80:80",
    "a b",
    "a/b",
    "a@b",
    "a,b",
    "a%2eb",
    "a\\b",
    "*",
    "[::1",
    "::1",
    "[]",
    "[1.2.3.4]",
    "[:::]",
    "[::1]x",
    "[fe80::1%25eth0]",
    "[1:2:3:4:5:6:7:8:9]",
    "\N{LATIN SMALL LETTER A WITH DIAERESIS}",
    "a\n",
]


@pytest.mark.parametrize("text", WRONG_HOSTS, ids=lambda text: repr(text[:20]))
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_authority(text)


@pytest.mark.parametrize("text", ["", "a", "http:/a", "http://", "http://a/", "http://a:0", "http://a:", "http://u@a"])
def test_what_is_no_url_of_a_node_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_url(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h"),
        ("redis://", "redis://"),
        ("redis://h:6379/15", "redis://h:6379/15"),
        ("redis://[::1]:1/0", "redis://[::1]:1/0"),
        ("redis://user@h", "redis://user@h"),
        ("redis://:hush@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://user:hu%40sh:x@h", "redis://user:***@h"),
        ("redis://user:hu@sh@h/0", "redis://user:***@h/0"),
        ("unix:/run/redis.sock", "unix:/run/redis.sock"),
        ("unix://[x", "unix://[x"),
    ],
)
def test_the_url_of_a_redis_is_shown_without_its_password(url: str, shown: str) -> None:
    check_redis(url)
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis",
        "http://:hush@h",
        "unix:",
        "redis://[:1",
        "redis://:hush@[:1",
        "redis://:hush@h:99999",
        "redis://:hush@h:0",
        "redis://:hush@h:",
        "redis://:hush@h:x",
        "redis://:hu/sh@h",
        "redis://:hu#sh@h",
        "redis://:hu?sh@h",
        "redis://:hush@a..b",
        "redis://:hush\N{ACCOUNT OF}@h",
        "redis://:hush@h/x",
        "redis://:hush@h/0/1",
        "redis://:hush@h/0?a=1",
    ],
)
def test_a_wrong_url_of_a_redis_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_redis(url)
    assert "hush" not in str(refused.value) and "write redis://" in str(refused.value)
