import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.http.head import Refused, check_unfinished, parse
from livestream.http.limits import HeadLimits
from tests.test_urls import WRONG_HOSTS

LIMITS = HeadLimits()


def head(*fields: bytes, line: bytes = b"GET /x HTTP/1.1", host: bytes = b"Host: h") -> bytes:
    lines = [line, *([host] if host else []), *fields]
    return b"".join(text + b"\r\n" for text in lines) + b"\r\n"


def status_of(data: bytes, limits: HeadLimits = LIMITS) -> str:
    with pytest.raises(Refused) as refusal:
        parse(data, limits)
    return refusal.value.status[:3]


def test_a_head_is_its_method_raw_target_and_fields() -> None:
    read = parse(head(b"Range:bytes=0-1", b"X-A:  b \t", line=b"HEAD /a%2e?q=1 HTTP/1.1"), LIMITS)
    assert (read.method, read.target, read.path, read.minor) == (b"HEAD", b"/a%2e?q=1", b"/a%2e", 1)
    assert read.fields == {b"host": b"h", b"range": b"bytes=0-1", b"x-a": b"b"}


@pytest.mark.parametrize(
    ("target", "read"),
    [
        (b"http://a.example/x?q=http://b/", (b"/x?q=http://b/", b"a.example")),
        (b"HTTPS://a.example:8443/x", (b"/x", b"a.example:8443")),
        (b"http://[2001:db8::1]:80//x", (b"//x", b"[2001:db8::1]:80")),
        (b"http://a.example", (b"/", b"a.example")),
        (b"http://a.example?q", (b"/?q", b"a.example")),
    ],
)
def test_a_target_with_scheme_and_host_is_that_of_its_path_at_its_host(
    target: bytes, read: tuple[bytes, bytes]
) -> None:
    found = parse(head(b"X: y", line=b"GET " + target + b" HTTP/1.1", host=b"Host: other"), LIMITS)
    assert (found.target, found.fields[b"host"]) == read
    again = parse(found.encoded(), LIMITS)
    assert (again.target, again.fields, again.was_absolute) == (found.target, found.fields, False)


@pytest.mark.parametrize(
    "target", [b"http:///x", b"http://", b"http://a b/", b"http://user@a/x", b"http://a:x/", b"http://a,b/x"]
)
def test_a_target_with_a_host_that_cannot_be_is_refused(target: bytes) -> None:
    assert status_of(head(line=b"GET " + target + b" HTTP/1.1")) == "400"


def test_fields_that_come_twice_are_joined() -> None:
    assert parse(head(b"Via: a", b"via: b"), LIMITS).fields[b"via"] == b"a, b"


def test_http_1_0_needs_no_host() -> None:
    assert parse(head(line=b"GET / HTTP/1.0", host=b""), LIMITS).minor == 0


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 0", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 0", b"Content-Length: 0"],
        [b"Content-Length: +0"],
        [b"Content-Length: 0,0"],
        [b"Content-Length: 0x0"],
        [b"Content-Length:"],
        [b"Content-Length: 1 1"],
        [b"Content-Length: 99999999999999999999"],
        [b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: \x0bchunked"],
        [b"Transfer-Encoding:", b"Transfer-Encoding: chunked"],
        [b"X: a\r\n folded"],
        [b"X: a\r\n\tfolded"],
        [b" X: a"],
        [b"X : a"],
        [b"X: a\nContent-Length: 5"],
        [b"X: a\rb"],
        [b"X: a\x00b"],
        [b"X: a\x7fb"],
        [b": a"],
        [b"X"],
        [b"X\x80: a"],
        [b"Host: other"],
    ],
    ids=repr,
)
def test_what_could_be_read_two_ways_is_refused(fields: list[bytes]) -> None:
    assert status_of(head(*fields)) == "400"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  /x HTTP/1.1", "400"),
        (b"GET /x  HTTP/1.1", "400"),
        (b" GET /x HTTP/1.1", "400"),
        (b"GET /x HTTP/1.1 ", "400"),
        (b"GET /x y HTTP/1.1", "400"),
        (b"GET\t/x\tHTTP/1.1", "400"),
        (b"GET /x", "400"),
        (b"GET /x http/1.1", "400"),
        (b"GET /x HTTP/1", "400"),
        (b"GET /\xff HTTP/1.1", "400"),
        (b"GET /\x00 HTTP/1.1", "400"),
        (b"G(T /x HTTP/1.1", "400"),
        (b"", "400"),
        (b"PRI * HTTP/2.0", "505"),
        (b"GET /x HTTP/0.9", "505"),
    ],
)
def test_a_request_line_is_exact(line: bytes, status: str) -> None:
    assert status_of(head(line=line)) == status


@pytest.mark.parametrize("host", [host.encode() for host in WRONG_HOSTS if host] + [b"\xff", b"a, b"], ids=repr)
def test_an_odd_host_is_refused(host: bytes) -> None:
    assert status_of(head(host=b"Host: " + host)) == "400"


def test_a_host_that_is_missing_is_refused() -> None:
    assert status_of(head(host=b"")) == "400"


@pytest.mark.parametrize(
    "host", ["a.b_c-d:8080", "[2001:db8::1]:80", "", "10.0.0.1", "a.", "a:", "x" * 63, "x." * 126 + "x", "a:65535"]
)
def test_a_host_that_a_client_may_send_is_taken(host: str) -> None:
    parse(head(host=f"Host: {host}".encode()), LIMITS)


def test_a_body_is_refused_by_its_announcement() -> None:
    assert status_of(head(b"Content-Length: 1")) == "413"
    parse(head(b"Content-Length: 0"), LIMITS)


def test_each_limit_has_a_status() -> None:
    assert status_of(head(*[b"X: y"] * 64)) == "431"
    assert status_of(head(b"X: " + b"y" * 16384)) == "431"
    assert status_of(head(line=b"GET /" + b"x" * 8192 + b" HTTP/1.1")) == "414"
    parse(head(*[b"X: y"] * 63), LIMITS)


def test_an_unfinished_head_is_refused_as_soon_as_it_is_too_long() -> None:
    check_unfinished(b"GET /" + b"x" * 8000, 0, LIMITS)
    check_unfinished(b"GET / HTTP/1.1\r\n" + b"x" * 16000, 0, LIMITS)
    for data in (b"GET /" + b"x" * 8192, b"GET / HTTP/1.1\r\n" + b"x" * 16384):
        with pytest.raises(Refused):
            check_unfinished(data, 0, LIMITS)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for candidate in (data + b"\r\n\r\n", head(data)):
        try:
            read = parse(candidate, LIMITS)
        except Refused:
            continue
        assert b"\r" not in b"".join(read.fields.values()) and b"\n" not in b"".join(read.fields)
