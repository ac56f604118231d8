"""What may be configured, and what a wrong configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.checks import PRESETS
from livestream.config import SETTINGS, Config, ConfigError, load
from livestream.settings import Upstream

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
        ("[hls]\nwindow = 2\n", "live.toml: hls.window: 2 is out of range: 3 to 60 segments"),
        ("[hls]\nwindows = 6\n", "live.toml: hls.windows: no such setting; did you mean hls.window?"),
        ("[hsl]\nwindow = 6\n", "live.toml: hsl.window: no such section; did you mean [hls]?"),
        ("hls = 6\n", "live.toml: hls: a key outside a section; move it under [hls]"),
        ("[hls]\nwindow = true\n", "live.toml: hls.window: True is not a whole number"),
        ("[edge]\nhttp = '8080'\n", "live.toml: edge.http: '8080': write tcp:PORT or tcp:PORT:interface=ADDRESS"),
        ("[edge]\nhttp = 'tcp:80800'\n", "live.toml: edge.http: 'tcp:80800': a port is a number up to 65535"),
        ("[transcode]\nladder = [360, 720]\n", "live.toml: transcode.ladder: [360, 720]: write even heights"),
        ("[ingest.keys]\nshow = 'short'\n", "live.toml: ingest.keys: a publishing key needs at least 8 characters"),
        ("[ingest]\nrtmp = 'tcp:1935'\n", "live.toml: ingest.rtmp: anyone who reaches this port could publish"),
        ("[node]\nhttp = 'http://a\"b'\n", "live.toml: node.http: 'http://a\"b': write http://HOST:PORT"),
        ("[node]\nrtmp = 'rtmp://a'\n", "live.toml: node.rtmp: 'rtmp://a': write rtmp://HOST:PORT"),
        ("[node]\ncapacity_rps = 0\n", "live.toml: node.capacity_rps: 0.0 is out of range: 0.001"),
        ("[edge]\nhttp = 5\n", "live.toml: edge.http: 5 is not a string"),
        ("[edge]\nhttp = [1]\n", "live.toml: edge.http: a list is not a string"),
        ("[edge.http]\na = 1\n", "live.toml: edge.http: a table is not a string"),
        ("[[edge]]\nhttp = 5\n", "live.toml: edge: a key outside a section"),
        ("[hls]\nwindow = 1979-05-27\n", "live.toml: hls.window: datetime.date(1979, 5, 27) is not a whole number"),
        (f"[hls]\nwindow = {'9' * 400}\n", f"live.toml: hls.window: {'9' * 80}... is out of range: 3 to 60 segments"),
        (
            f"[hls]\nwindow = 0x{'f' * 6000}\n",
            "live.toml: hls.window: a number with thousands of digits is out of range: 3",
        ),
        (f"[hls]\nwindow = {'9' * 5000}\n", "live.toml: invalid TOML: a number has too many digits"),
        (f"[push]\nslow_s = {'9' * 400}\n", f"live.toml: push.slow_s: {'9' * 80}... is not a finite number"),
        ("[push]\nslow_s = inf\n", "live.toml: push.slow_s: inf is not a finite number"),
        ("[push]\nslow_s = nan\n", "live.toml: push.slow_s: nan is not a finite number"),
        ("[push]\nslow_s = 1e300\n", "live.toml: push.slow_s: 1e+300 is above 1000000000"),
        (
            "[limits]\nsend_buffer_kb = 1_048_577\n",
            "live.toml: limits.send_buffer_kb: 1048577 is out of range: 1 to",
        ),
        (f"[hls]\nwindow = {'[' * 3000}\n", "live.toml: invalid TOML: brackets or tables are nested too deep"),
        ("[hls]\nwindow = 6\nwindow = 7\n", "live.toml: invalid TOML: Cannot overwrite a value"),
        ('[edge]\naccess_log = "a\\u0000"\n', "live.toml: edge.access_log: it contains a control character"),
        ('[edge]\n"\\u001b[31m\\n" = 1\n', "live.toml: edge.'\\x1b[31m\\n': no such setting"),
        (f"[edge]\nhttp = '{'x' * 4000}'\n", f"live.toml: edge.http: '{'x' * 79}...: write tcp:PORT"),
        (f"[edge]\nhttp = '{'x' * 100_000}'\n", "live.toml: edge.http: it is longer than 4096 characters"),
        (f"[{'x' * 100_000}]\nhttp = 1\n", f"live.toml: '{'x' * 79}....http: no such section"),
        ("[edge]\nhttp = 'tcp:80:port=80'\n", "live.toml: edge.http: 'tcp:80:port=80': port is given twice"),
        ("[edge]\nupstreams = [{http = 5}]\n", "live.toml: edge.upstreams: 5 is not a string"),
        ("[edge]\nupstreams = [{http = 'http://a', rtmp = 5}]\n", "live.toml: edge.upstreams: 5 is not a string"),
        (
            "[edge]\nupstreams = [{http = 'http://a:99999'}]\n",
            "live.toml: edge.upstreams: 'http://a:99999': write",
        ),
        ("[edge]\nupstreams = [{http = 'http://[:1'}]\n", "live.toml: edge.upstreams: 'http://[:1': write http://HOST"),
        ("[edge]\nupstreams = [{http = 'http://u:p@a'}]\n", "live.toml: edge.upstreams: 'http://u:p@a': write http"),
        ("[node]\nhttp = 'https://a:0'\n", "live.toml: node.http: 'https://a:0': write http://HOST:PORT"),
        ("[node]\nrtmp = 'rtmp://a:99999'\n", "live.toml: node.rtmp: 'rtmp://a:99999': write rtmp://HOST:PORT"),
        ("[transcode]\npreset = 'wrong'\n", "live.toml: transcode.preset: 'wrong' is not one of ultrafast, superfast"),
        ("[bus]\nredis = 'redis://[:1'\n", "live.toml: bus.redis: write redis://"),
        ("[bus]\nredis = 'redis://h:99999/0'\n", "live.toml: bus.redis: write redis://"),
        (
            "[edge]\nproxy_protocol = true\n",
            "live.toml: edge.proxy_protocol: requires trusted proxies; write cluster.trusted_proxies",
        ),
        (
            "[ingest]\nproxy_protocol = true\nrtmp = 'ssl:1935:interface=127.0.0.1'\n[cluster]\n"
            "trusted_proxies = ['10.0.0.1']\n",
            "live.toml: ingest.rtmp: the PROXY protocol is not supported on ssl:",
        ),
        ("[limits]\nexempt = ['10.0.0.1/8']\n", "live.toml: limits.exempt: '10.0.0.1/8': write a network"),
        ("[limits]\nrtmp_connects_per_address = -1\n", "live.toml: limits.rtmp_connects_per_address: -1 is below 0"),
    ],
    ids=lambda text: text.split("\n")[-1 if text.startswith("live") else 0][:50],
)
def test_what_is_wrong_is_a_line_that_says_what_would_be_right(text: str, line: str) -> None:
    (error,) = _errors(text)
    assert error.startswith(line)
    assert error.splitlines() == [error] and len(error) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [("HLS_WINDOW", "[" * 3000), ("HLS_WINDOW", "9" * 5000), ("EDGE_ACCESS_LOG", "\udcff"), ("HLS_WINDOW", "")],
)
def test_the_environment_and_flags_are_read_as_strictly(name: str, value: str) -> None:
    section, _, key = name.lower().partition("_")
    (from_environ,) = _errors("", "all", {f"LIVESTREAM_{name}": value})
    (from_flag,) = _errors("", "all", None, f"{section}.{key}={value}")
    assert from_environ.startswith(f"LIVESTREAM_{name}: {section}.{key}: ")
    assert from_flag.startswith(f"--set: {section}.{key}: ")


@pytest.mark.parametrize(
    ("environ", "flag", "line"),
    [
        ({"LIVESTREAM_BUS_A\nB": "1"}, "hls.window=3", "'LIVESTREAM_BUS_A\\nB': bus.'a\\nb': no such setting"),
        ({}, "hls.window\n", "--set hls.window: write"),
    ],
)
def test_an_odd_name_is_quoted_in_one_line(environ: dict[str, str], flag: str, line: str) -> None:
    (error,) = _errors("", "all", environ, flag)
    assert error.startswith(line)
    assert error.splitlines() == [error]


@pytest.mark.parametrize("preset", PRESETS)
def test_all_presets_of_x264_are_known(preset: str) -> None:
    assert _load("", "all", None, f"transcode.preset={preset}").transcode.preset == preset


VALUES = st.one_of(
    st.sampled_from(["inf", "nan", "9" * 5000, "[" * 2000, "{a = 1}", "[{http = 5}]", "1979-05-27", '"\\u0000"', "'["]),
    st.text(max_size=20).map(lambda text: f"'{text}'"),
    st.integers().map(str),
    st.floats().map(str),
)
NAMES = st.sampled_from([tuple(name.split(".")) for name in SETTINGS])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.binary(max_size=4), st.integers(0, 200))
def test_whatever_is_configured_is_taken_or_is_lines(
    entries: list[tuple[tuple[str, str], str]], noise: bytes, place: int
) -> None:
    text = "".join(f"[{section}]\n{key} = {value}\n" for (section, key), value in entries).encode()
    text = text[:place] + noise + text[place:]
    sets = [f"{section}.{key}={value}" for (section, key), value in entries]
    for role, file, given_sets in (("all", "live.toml", []), ("edge", None, sets)):
        try:
            load(role, file, {}, given_sets, lambda _: text.decode())
        except ConfigError as error:
            assert [line for line in error.lines if line.splitlines() != [line] or len(line) > 500] == []


def test_all_that_is_wrong_is_said_at_once() -> None:
    errors = _errors(
        "[hls]\nwindow = 2\n", "all", {"LIVESTREAM_PUSH_TICK_MS": "-1"}, "hls.segment_s", "cache.limit_mb=0"
    )
    assert [error.partition(": ")[0] for error in errors] == ["--set hls.segment_s", "live.toml", *_OTHERS]


_OTHERS = ("LIVESTREAM_PUSH_TICK_MS", "--set")


@pytest.mark.parametrize("text", ["[hls", "window == 6", "\x00"])
def test_what_is_not_toml_is_an_error(text: str) -> None:
    assert "invalid TOML" in _errors(text)[0]


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read"):
        load("all", "/gone.toml", {}, (), lambda path: Path(path).read_text())


def test_a_role_of_its_own_needs_a_bus_and_a_tier_above() -> None:
    assert [line.partition(": ")[2].partition(":")[0] for line in _errors("", "edge")] == [
        "bus.redis",
        "edge.upstreams",
    ]


@pytest.mark.parametrize("where", ["tcp:1935", "tcp:1935:interface=", "tcp:1935:0.0.0.0", r"tcp6:1935:interface=\:\:"])
def test_without_a_key_no_one_from_elsewhere_may_publish(where: str) -> None:
    (error,) = _errors("", "all", None, f"ingest.rtmp={where}")
    assert "anyone who reaches this port could publish" in error


def test_an_interface_that_comes_twice_opens_no_port_to_everybody() -> None:
    (error,) = _errors("", "all", None, "ingest.rtmp=tcp:1935:interface=127.0.0.1:interface=0.0.0.0")
    assert "interface is given twice" in error


@pytest.mark.parametrize("address", ["127.0.0.1", r"\:\:1", "localhost"])
def test_anyone_on_this_machine_may_publish_without_a_key(address: str) -> None:
    assert _load("", "all", None, f"ingest.rtmp=tcp:1935:interface={address}")


def test_with_a_key_publishers_may_come_from_anywhere() -> None:
    assert _load("[ingest]\nrtmp = 'tcp:1935'\n[ingest.keys]\n'*' = 'long enough'\n").ingest.keys


def test_what_is_in_force_can_be_printed_and_read_again() -> None:
    config = _load("", "edge", None, *EDGE)
    assert load("edge", "printed", {}, (), lambda path: config.to_toml()) == config


SECRETS = [name for name, each in SETTINGS.items() if each.metadata["secret"]]
HUSH = "hush-hush-hush-hush"
WRONG = {
    "a number": "12345678901234567890",
    "a list": f"['{HUSH}']",
    "a table": f"{{show = '{HUSH}', other = 5}}",
    "a control character": f'"{HUSH}\\n"',
    "too short": "'hush'",
    "a table of one that is too short": "{show = 'hush'}",
    "a blank": f"'{HUSH} {HUSH}'",
    "not a URL": f"'redis://:{HUSH}@h:x'",
    "another URL": f"'http://:{HUSH}@h'",
}


def test_secrets_are_declared() -> None:
    assert SECRETS == ["bus.redis", "ingest.keys", "ops.token", "cluster.secret"]


@pytest.mark.parametrize("setting", SECRETS)
def test_no_error_quotes_a_secret(setting: str) -> None:
    said: list[str] = []
    for value in WRONG.values():
        try:
            _load("", "all", {f"LIVESTREAM_{setting.upper().replace('.', '_')}": value}, f"{setting}={value}")
        except ConfigError as error:
            said += error.lines
    assert len(said) > 3
    assert [line for line in said if "hush" in line or "1234" in line] == []


@pytest.mark.parametrize("text", [f"cluster.secret {HUSH}", f"cluster.secret:{HUSH}", f"redis://:{HUSH}@h.example?a=b"])
def test_a_flag_that_is_no_setting_is_not_quoted(text: str) -> None:
    assert _errors("", "all", None, text) == ["--set: write --set section.key=value"]


def test_what_is_printed_has_no_secret_in_it() -> None:
    url = f"redis://user:{HUSH}@h:6379/0"
    config = _load(f"[ingest.keys]\nshow = '{HUSH}'\n", "all", None, f"bus.redis={url}", f"ops.token={HUSH}")
    assert HUSH not in config.to_toml() and HUSH not in repr(config)
    lines = config.to_toml().splitlines()
    assert {"# keys: not shown", "# token: not shown", '# redis = "redis://user:***@h:6379/0"'} <= set(lines)


def test_a_node_of_a_cluster_has_a_name_an_address_and_a_bus() -> None:
    lines = _errors("", "all", None, "cluster.secret=0123456789abcdef")
    assert [line.split(": ")[1] for line in lines] == ["bus.redis", "node.id", "node.http"]


def test_a_place_is_a_latitude_and_a_longitude() -> None:
    assert "node.latitude, node.longitude" in _errors("", "all", None, "node.latitude=52.5")[0]
    assert "out of range: -90 to 90" in _errors("", "all", None, "node.latitude=91", "node.longitude=13")[0]


def test_a_node_of_a_cluster_finds_the_tier_above_by_itself() -> None:
    sets = ["cluster.secret=0123456789abcdef", "node.id=edge-1", "node.http=http://127.0.0.1:8080"]
    config = _load("", "edge", None, *sets, "bus.redis=unix:/run/redis")
    assert config.edge.upstreams == ()
    assert "0123456789abcdef" not in config.to_toml()
