"""What may be configured, and what a wrong configuration says."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from livestream.config import Config, ConfigError, load
from livestream.settings import SECTIONS, Upstream

ETC = Path(__file__).parents[1] / "etc"
EDGE = 'bus.redis="redis://127.0.0.1:6379/0"', 'edge.upstreams=[{http="http://origin:8083"}]'


def _load(text: str = "", role: str = "all", environ: dict[str, str] | None = None, *sets: str) -> Config:
    return load(role, "live.toml", environ or {}, sets, lambda path: text)


def _errors(text: str = "", role: str = "all", environ: dict[str, str] | None = None, *sets: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(text, role, environ, *sets)
    return list(caught.value.lines)


def test_nothing_needs_to_be_set() -> None:
    config = load("all", None, {}, (), lambda path: pytest.fail("no file was named"))
    assert (config.hls.segment_s, config.hls.window, config.push.tick_ms) == (3, 6, 64)


def test_a_flag_is_over_the_environment_over_the_file_over_the_default() -> None:
    text = "[hls]\nwindow = 7\n"
    environ = {"LIVESTREAM_HLS_WINDOW": "8"}
    assert _load(text).hls.window == 7
    assert _load(text, "all", environ).hls.window == 8
    assert _load(text, "all", environ, "hls.window=9").hls.window == 9


def test_a_bare_word_is_a_text_and_a_whole_number_will_do_for_a_number() -> None:
    config = _load("", "all", None, "edge.http=tcp:9000", "push.slow_s=3")
    assert config.edge.http == "tcp:9000"
    assert config.push.slow_s == 3.0


def test_upstreams_are_tables() -> None:
    assert _load("", "edge", None, *EDGE).edge.upstreams == (Upstream("http://origin:8083", ""),)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[hls]\nwindow = 2\n", "live.toml: hls.window: 2 is not from 3 to 60 segments"),
        ("[hls]\nwindows = 6\n", "live.toml: hls.windows: no such setting; did you mean hls.window?"),
        ("[hsl]\nwindow = 6\n", "live.toml: hsl.window: no such section; did you mean [hls]?"),
        ("hls = 6\n", "live.toml: hls: a key outside a section; write it under [hls]"),
        ("[hls]\nwindow = true\n", "live.toml: hls.window: True is not a whole number"),
        ("[edge]\nhttp = '8080'\n", "live.toml: edge.http: '8080': write tcp:PORT or tcp:PORT:interface=ADDRESS"),
        ("[edge]\nhttp = 'tcp:80800'\n", "live.toml: edge.http: 'tcp:80800': a port is a number up to 65535"),
        ("[transcode]\nladder = [360, 720]\n", "live.toml: transcode.ladder: [360, 720]: even heights"),
        ("[ingest.keys]\nshow = 'short'\n", "live.toml: ingest.keys: a publishing key has 8 characters or more"),
        ("[ingest]\nrtmp = 'tcp:1935'\n", "live.toml: ingest.rtmp: anyone who reaches this port could publish"),
        ("[node]\nhttp = 'http://a\"b'\n", "live.toml: node.http: 'http://a\"b': write http://HOST:PORT"),
        ("[node]\nrtmp = 'rtmp://a'\n", "live.toml: node.rtmp: 'rtmp://a': write rtmp://HOST:PORT"),
        ("[node]\ncapacity_rps = 0\n", "live.toml: node.capacity_rps: 0.0 is not from 0.001"),
    ],
)
def test_what_is_wrong_is_a_line_that_says_what_would_be_right(text: str, line: str) -> None:
    (error,) = _errors(text)
    assert error.startswith(line)


def test_all_that_is_wrong_is_said_at_once() -> None:
    errors = _errors(
        "[hls]\nwindow = 2\n", "all", {"LIVESTREAM_PUSH_TICK_MS": "-1"}, "hls.segment_s", "cache.limit_mb=0"
    )
    assert [error.partition(": ")[0] for error in errors] == ["--set hls.segment_s", "live.toml", *_OTHERS]


_OTHERS = ("LIVESTREAM_PUSH_TICK_MS", "--set")


@pytest.mark.parametrize("text", ["[hls", "window == 6", "\x00"])
def test_what_is_not_toml_is_an_error(text: str) -> None:
    assert "not TOML" in _errors(text)[0]


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read"):
        load("all", "/gone.toml", {}, (), lambda path: Path(path).read_text())


def test_a_role_of_its_own_needs_a_bus_and_a_tier_above() -> None:
    assert [line.partition(": ")[2].partition(":")[0] for line in _errors("", "edge")] == [
        "bus.redis",
        "edge.upstreams",
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", r"\:\:1", "localhost"])
def test_anyone_on_this_machine_may_publish_without_a_key(address: str) -> None:
    assert _load("", "all", None, f"ingest.rtmp=tcp:1935:interface={address}")


def test_with_a_key_publishers_may_come_from_anywhere() -> None:
    assert _load("[ingest]\nrtmp = 'tcp:1935'\n[ingest.keys]\n'*' = 'long enough'\n").ingest.keys


def test_what_is_in_force_can_be_printed_and_read_again() -> None:
    config = _load("", "edge", None, *EDGE)
    assert load("edge", "printed", {}, (), lambda path: config.to_toml()) == config


def test_what_is_printed_has_no_key_in_it() -> None:
    printed = _load("[ingest.keys]\nshow = 'hush hush'\n").to_toml()
    assert "hush" not in printed and "keys" in printed


@pytest.mark.parametrize("role", ["ingest", "origin", "edge"])
def test_the_files_that_come_along_are_right(role: str) -> None:
    assert load(role, str(ETC / f"{role}.toml"), {}, (), lambda path: Path(path).read_text()).role == role


def test_every_setting_says_what_it_is_for() -> None:
    assert all(each.metadata["help"] for section in SECTIONS.values() for each in attrs.fields(section))


def test_a_node_of_a_cluster_has_a_name_an_address_and_a_bus() -> None:
    lines = _errors("", "all", None, "cluster.secret=0123456789abcdef")
    assert [line.split(": ")[1] for line in lines] == ["bus.redis", "node.id", "node.http"]


def test_a_place_is_a_latitude_and_a_longitude() -> None:
    assert "node.latitude, node.longitude" in _errors("", "all", None, "node.latitude=52.5")[0]
    assert "not from -90 to 90" in _errors("", "all", None, "node.latitude=91", "node.longitude=13")[0]


def test_a_node_of_a_cluster_finds_the_tier_above_by_itself() -> None:
    sets = ["cluster.secret=0123456789abcdef", "node.id=edge-1", "node.http=http://127.0.0.1:8080"]
    config = _load("", "edge", None, *sets, "bus.redis=unix:/run/redis")
    assert config.edge.upstreams == ()
    assert "0123456789abcdef" not in config.to_toml()
