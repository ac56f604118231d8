import pytest

from livestream.hls.paths import Kind, Target, parse_path


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/live/a/master.m3u8", Target(Kind.MULTIVARIANT, "a")),
        (b"/live/a/source/index.m3u8", Target(Kind.PLAYLIST, "a", "source")),
        (b"/live/A_b-9/720p/index.m3u8", Target(Kind.PLAYLIST, "A_b-9", "720p")),
        (b"/live/a/720p/1764309291000-init-0.mp4", Target(Kind.INIT, "a", "720p", "1764309291000-init-0.mp4")),
        (b"/live/a/720p/1764309291000-588103097.m4s", Target(Kind.SEGMENT, "a", "720p", "1764309291000-588103097.m4s")),
    ],
)
def test_a_path_names_one_thing(path: bytes, target: Target) -> None:
    assert parse_path(path) == target


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/live",
        b"/live/a",
        b"/live/a/",
        b"/live/a/index.m3u8",
        b"/live/a/720p/master.m3u8",
        b"/live//a/master.m3u8",
        b"//live/a/master.m3u8",
        b"/live/./a/master.m3u8",
        b"/live/a/../a/master.m3u8",
        b"/live/a/master.m3u8/",
        b"/live/a/master.m3u8\n",
        b"/live/a/master%2em3u8",
        b"/live/a%00/master.m3u8",
        b"/live/a;x/master.m3u8",
        b"/live/a\\b/master.m3u8",
        b"/live/\xc3\xa4/master.m3u8",
        b"/live/-a/master.m3u8",
        b"/live/" + b"a" * 65 + b"/master.m3u8",
        b"/live/a/0720p/index.m3u8",
        b"/live/a/Source/index.m3u8",
        b"/live/a/720p/1-01.m4s",
        b"/live/a/720p/01-1.m4s",
        b"/live/a/720p/1-1.mp4",
        b"/live/a/720p/1-init-1.m4s",
        b"/live/a/720p/1-1.m4s.m4s",
        b"/live/a/720p/" + b"1" * 17 + b"-1.m4s",
        b"http://h/live/a/master.m3u8",
        b"*",
    ],
)
def test_there_is_one_way_to_write_it(path: bytes) -> None:
    assert parse_path(path) is None
