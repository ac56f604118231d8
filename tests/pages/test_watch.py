"""The pages for people, and the endpoint for those who run a node."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urljoin

import pytest
from attrs import define, field
from treq.testing import StubTreq
from twisted.internet.defer import ensureDeferred
from twisted.web.resource import IResource

from livestream.metrics import Metrics
from livestream.ops.site import Ops
from livestream.pages.watch import TYPES, Watch


@define(eq=False)
class Browser:
    """Asks a resource, without a socket."""

    resource: IResource
    headers: dict[str, str] = field(factory=dict)

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        return self.ask("GET", path, **headers)

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        treq: Any = StubTreq(self.resource)
        answers: list[tuple[int, bytes]] = []

        async def ask() -> None:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await treq.request(method, f"http://localhost{path}", headers=sent)
            self.headers = {k.decode().lower(): v[0].decode() for k, v in answer.headers.getAllRawHeaders()}
            answers.append((answer.code, await answer.content()))

        ensureDeferred(ask())
        treq.flush()
        return answers[0]


def _pages(*live: str) -> Browser:
    return Browser(Watch(lambda: list(live)).resource())


def test_the_index_links_what_is_live() -> None:
    status, page = _pages("show", "other").get("/")
    assert status == 200
    assert re.findall(rb'href="(./watch/\w+)"', page) == [b"./watch/other", b"./watch/show"]


@pytest.mark.parametrize("path", ["/", "/watch/show", "/nothing", "/watch/show/a/b", "/static/none.js"])
@pytest.mark.parametrize("prefix", ["", "/video", "/a/b"])
def test_a_proxy_may_serve_the_pages_below_a_prefix(path: str, prefix: str) -> None:
    browser = _pages("show")
    links = re.findall(r'(?:href|src)="(?!data:)([^"]+)"', browser.get(path)[1].decode())
    found = {urljoin(f"https://front.example{prefix}{path}", link) for link in links}
    front = f"https://front.example{prefix}/"
    ours = {"static/watch.css", "static/hls.min.js", "static/mpegts.js", "static/watch.js", "", "watch/show"}
    assert found and found <= {front + each for each in (*ours, "live/show/master.m3u8")}
    assert f"{front}static/watch.css" in found


def test_an_index_with_nothing_on_it_says_so_and_looks_again() -> None:
    _, page = _pages().get("/")
    assert b"Nothing is live" in page and b'http-equiv="refresh"' in page


def test_names_are_escaped() -> None:
    _, page = _pages('"><script>').get("/")
    assert b"<script" not in page


@pytest.mark.parametrize("path", ["/watch/a%3Cb", "/watch/.", "/watch/a/b", "/static/watch.html", "/static/..", "/x"])
def test_what_is_no_page_is_404(path: str) -> None:
    assert _pages("a").get(path)[0] == 404


@pytest.mark.parametrize(("is_steered", "sources"), [(False, "'self'"), (True, "'self' http: https:")])
def test_only_where_viewers_are_steered_may_media_come_from_other_nodes(is_steered: bool, sources: str) -> None:
    browser = Browser(Watch(lambda: ["show"], is_steered).resource())
    browser.get("/watch/show")
    policy = browser.headers["content-security-policy"].split("; ")
    assert f"connect-src {sources}" in policy and "script-src 'self'" in policy


@pytest.mark.parametrize("path", ["/", "/watch/show", "/nothing"])
def test_no_page_may_run_a_script_that_is_not_a_file_of_ours(path: str) -> None:
    browser = _pages("show")
    _, page = browser.get(path)
    assert "script-src 'self';" in browser.headers["content-security-policy"]
    assert "unsafe" not in browser.headers["content-security-policy"]
    assert all(script.startswith(b'src="../static/') for script in re.findall(rb"<script ([^>]*)>", page))
    assert not re.search(rb"\son\w+=|<style|\sstyle=", page)


def test_every_file_that_a_page_names_is_served() -> None:
    browser = _pages("show")
    pages = browser.get("/")[1] + browser.get("/watch/show")[1]
    names = {name.decode() for name in re.findall(rb'"[./]+/static/([^"]+)"', pages)}
    assert names <= set(TYPES) and len(names) == 4
    assert all(browser.get(f"/static/{name}")[0] == 200 for name in TYPES)


def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    browser = _pages()
    browser.get("/static/watch.css")
    assert browser.get("/static/watch.css", if_none_match=browser.headers["etag"]) == (304, b"")


def _ops(*reasons: str) -> Browser:
    metrics = Metrics()
    metrics.broadcasts.set(7)
    return Browser(Ops(lambda: list(reasons), lambda: [{"stream": "show"}], metrics).resource())


def test_a_node_is_ready_when_nothing_stands_against_it() -> None:
    status, body = _ops().get("/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": [], "warnings": []})


def test_a_node_that_has_lost_its_bus_is_ready_and_says_so() -> None:
    warning = "cut off from the bus since 12:34:56 UTC (75 s)"
    status, body = Browser(Ops(list, list, Metrics(), warnings=lambda: [warning]).resource()).get("/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": [], "warnings": [warning]})


def test_a_node_that_is_not_ready_says_why_but_is_healthy() -> None:
    browser = _ops("the bus is not heard")
    status, body = browser.get("/readyz")
    assert status == 503 and json.loads(body)["reasons"] == ["the bus is not heard"]
    assert browser.get("/healthz")[0] == 200


def test_metrics_and_streams_are_told() -> None:
    assert b"livestream_broadcasts 7.0" in _ops().get("/metrics")[1]
    assert json.loads(_ops().get("/api/v1/streams")[1]) == {"streams": [{"stream": "show"}]}


def test_the_nodes_of_the_cluster_are_told() -> None:
    browser = Browser(Ops(list, list, Metrics(), nodes=lambda: [{"id": "edge-1"}]).resource())
    assert json.loads(browser.get("/api/v1/nodes")[1]) == {"nodes": [{"id": "edge-1"}]}
    assert browser.headers["cache-control"] == "no-store"


def test_the_page_of_the_cluster_is_made_of_files_of_ours_only() -> None:
    browser = _ops()
    status, page = browser.get("/cluster")
    assert status == 200 and "script-src 'self';" in browser.headers["content-security-policy"]
    assert not re.search(rb"\son\w+=|<style|\sstyle=|<script>|https?:", page)
    files = re.findall(r'(?:src|href)="(/[^"]+)"', page.decode())
    assert len(files) == 3 and all(browser.get(path)[0] == 200 for path in files)
    assert browser.get("/static/watch.js")[0] == 404


def _routes(path: str) -> tuple[int, dict[str, object]]:
    ops = Ops(list, list, Metrics(), lambda stream, address: [{"node": "edge-1", "asked": [stream, address]}])
    status, body = Browser(ops.resource()).get(path)
    return status, json.loads(body)


def test_gateways_are_told_the_edges_for_a_viewer() -> None:
    status, answer = _routes("/api/v1/route?stream=show&address=2001:DB8::1")
    assert status == 200
    assert answer == {
        "stream": "show",
        "address": "2001:db8::1",
        "edges": [{"node": "edge-1", "asked": ["show", "2001:db8::1"]}],
    }


@pytest.mark.parametrize(
    "query", ["", "?stream=show", "?address=192.0.2.1", "?stream=a/b&address=192.0.2.1", "?stream=show&address=here"]
)
def test_a_question_that_makes_no_sense_is_answered_with_what_would(query: str) -> None:
    status, answer = _routes(f"/api/v1/route{query}")
    assert status == 400 and "stream=STREAM&address=IP" in str(answer["error"])


def test_without_a_cluster_there_are_no_routes() -> None:
    assert _ops().get("/api/v1/route?stream=show&address=192.0.2.1")[0] == 404


def test_a_node_is_told_to_go_by_a_post_alone() -> None:
    told: list[str] = []
    browser = Browser(Ops(list, list, Metrics(), drain=lambda: told.append("go")).resource())
    assert browser.get("/drain")[0] == 405
    assert told == []
    assert browser.ask("POST", "/drain")[0] == 202
    assert told == ["go"]
