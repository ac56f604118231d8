"""Nodes that are told to go while viewers and broadcasters are there, and a configuration that is read again."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.ports import free_port
from tests.system.conftest import Site, Tiers
from tests.system.processes import Daemon, Process, get, until
from tests.system.viewer import Viewer

Start = Callable[..., Tiers]

QUICK = ("transcode.ladder=[]", "hls.segment_s=1", "hls.window=5")


def _publish(tiers: Tiers, name: str = "publisher", seconds: float = 60) -> Process:
    return tiers.site.publish(f"{tiers.publish_url}/show", seconds, name, gop_s=1)


def _has(viewer: Viewer, more: int) -> None:
    """Wait for so many more segments."""
    segments = viewer.renditions["source"].segments if viewer.renditions else {}
    count = len(segments) + more
    until(lambda: viewer.renditions and len(viewer.renditions["source"].segments) >= count, f"{more} more segments")


def _second_edge(tiers: Tiers) -> tuple[Daemon, str]:
    http, rtmp = free_port(), free_port()
    above = f'[{{http="http://127.0.0.1:{tiers.ports["origin.http"]}"}}]'
    settings = [f"edge.http=tcp:{http}:interface=127.0.0.1", f"edge.rtmp=tcp:{rtmp}:interface=127.0.0.1"]
    settings += [f"bus.redis={tiers.redis.url}", f"edge.upstreams={above}", *QUICK]
    daemon = Daemon.of(tiers.site.folder, "edge-2", *settings, role="edge")
    tiers.site.run(daemon)
    return daemon, f"http://127.0.0.1:{http}"


def _reasons(daemon: Daemon) -> list[str]:
    status, _, body = get(f"http://127.0.0.1:{daemon.ops}/readyz")
    return list(json.loads(body)["reasons"]) if status == 503 else []


def test_nodes_are_restarted_in_turn_during_a_broadcast_and_no_viewer_meets_a_failure(tiers: Start) -> None:
    three = tiers(*QUICK, "cluster.drain_s=4")
    _, elsewhere = _second_edge(three)
    _publish(three)
    viewers = [Viewer(three.http, "show") for _ in range(3)]
    until(lambda: all(get(f"{base}/live/show/master.m3u8")[0] == 200 for base in (three.http, elsewhere)), "a playlist")
    with ExitStack() as watching:
        for viewer in viewers:
            watching.enter_context(viewer.watching())
        _has(viewers[0], 1)
        edge = three.daemons["edge"]
        edge.kill(signal.SIGTERM)
        until(lambda: _reasons(edge) == ["this node is draining: SIGTERM"], "an edge that is not ready")
        _has(viewers[0], 1)
        for viewer in viewers:
            viewer.base = elsewhere
        assert edge.wait(8) == 0, edge.words()
        for role in ("origin", "ingest"):
            daemon = three.daemons[role]
            assert get(f"http://127.0.0.1:{daemon.ops}/drain", method="POST")[0] == 202
            assert daemon.wait(8) == 0, daemon.words()
            three.start(role)
        _publish(three, "second")
        lists = [viewer.renditions["source"] for viewer in viewers]
        until(lambda: all(each.discontinuities for each in lists), "the broadcast begins again")
        until(lambda: all(max(each.segments) > max(each.discontinuities) for each in lists), "it goes on")
    for viewer in viewers:
        assert viewer.failures == []
        assert [trouble for trouble in viewer.troubles if " s after the one before" not in trouble] == []
        assert viewer.lost("source") == [] and viewer.renditions["source"].gaps == []
        assert len(viewer.renditions["source"].discontinuities) == 1


def _alone(site: Site, file: Path) -> tuple[Daemon, str]:
    ports = {name: free_port() for name in ("edge.http", "ingest.rtmp")}
    settings = [f"{name}=tcp:{port}:interface=127.0.0.1" for name, port in ports.items()]
    daemon = Daemon.of(site.folder, "all", *settings, *QUICK, options=[f"--config={file}"])
    return daemon, f"rtmp://127.0.0.1:{ports['ingest.rtmp']}/live/show"


def test_the_configuration_is_read_again_on_sighup(site: Site) -> None:
    file = site.folder / "all.toml"
    file.write_text("[ingest.keys]\nother = 'what opens the other'\n")
    daemon, url = _alone(site, file)
    site.run(daemon)

    def told(text: str, words: str) -> None:
        before = len(daemon.words())
        file.write_text(text)
        daemon.kill(signal.SIGHUP)
        until(lambda: words in daemon.words()[before:], words, 5)

    def is_let_in(name: str) -> bool:
        process = site.publish(f"{url}?key=what-opens-the-show", 3, name, gop_s=1)
        return process.wait(15) == 0

    key = "[ingest.keys]\nshow = 'what-opens-the-show'\n"
    told(key + "[push]\nslow_s = 'x'\n", "push.slow_s")
    assert daemon.words().count("the current one stays in effect") == 1
    assert not is_let_in("before")
    told(key + "[hls]\ngrace = 1\n", "hls.grace")
    told(key + "[push]\ntick_ms = 32\n", "applied: ingest.keys")
    assert "push.tick_ms has changed and requires a restart" in daemon.words()
    assert is_let_in("after"), daemon.words()


def test_a_process_that_is_all_there_is_ends_at_once(site: Site) -> None:
    (site.folder / "empty.toml").write_text("")
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)):
        daemon, _ = _alone(site, site.folder / "empty.toml")
        site.run(daemon)
        daemon.kill(number)
        assert daemon.wait(2) == status, daemon.words()


def test_a_second_sigterm_ends_a_node_that_is_draining(site: Site) -> None:
    ports = [f"ingest.{name}=tcp:{free_port()}:interface=127.0.0.1" for name in ("http", "rtmp")]
    ingest = Daemon.of(site.folder, "ingest", *ports, f"bus.redis=unix:{site.folder}/none", role="ingest")
    site.run(ingest)
    ingest.kill(signal.SIGTERM)
    until(lambda: _reasons(ingest), "a node that is going")
    ingest.kill(signal.SIGTERM)
    assert ingest.wait(2) == 0
