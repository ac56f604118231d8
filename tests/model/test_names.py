import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.model import names
from livestream.model.names import (
    MEDIA_PATH,
    STEERING_PATH,
    TAKE_PATH,
    InvalidName,
    flv_path,
    gap_name,
    go_path,
    init_name,
    is_init,
    multivariant_path,
    node_name,
    object_path,
    playlist_path,
    rendition_name,
    segment_name,
    steering_path,
    stream_name,
    take_path,
    taken_path,
)

ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
streams = st.builds(str.__add__, st.sampled_from(ALNUM), st.text(ALNUM + "_-", max_size=63))
renditions = st.just("source") | st.integers(10, 9999).map("{}p".format)
epochs = st.integers(1, 10**16 - 1)
inits = st.builds(init_name, epochs, st.integers(0, 10**9 - 1))
segments = st.builds(segment_name, epochs, st.integers(0, 10**16 - 1))
nearly = st.lists(
    st.sampled_from(
        ["/", "live", "go", "steer", "take", "taken", "a", "-", "_", ".", "0", "1", "9" * 16, "x" * 63, "p"]
    )
    | st.sampled_from(
        ["source", "720p", "init", ".flv", ".m4s", ".mp4", "master.m3u8", "index.m3u8", "\n", "%2f", "\xe9"]
    ),
    max_size=12,
).map("".join)
"""What is put together of the pieces of paths, and hardly ever is one."""

WRONG_STREAMS = ("", "a b", "a\n", "\n", "a" * 65, "-a", "_a", ".a", "a.b", "a/b", "a%20", "\xe4", "\u0430", "\u0663")
WRONG_RENDITIONS = ("", "720p\n", "Source", "sources", "720", "720P", "p", "0p", "9p", "0720p", "10000p", "-720p",
                    "\u0667\u0662p", "gap")  # fmt: skip
WRONG_NODES = ("a b", "a/b", "a\n", "\n", "\xe4", "a:1", "a" * 65)
WRONG_OBJECTS = ("", "1-1.m4s\n", "1" * 17 + "-1.m4s", "1-" + "1" * 17 + ".m4s", "1-1", "1.m4s", "1-1.mp4", "1-1.M4S",
                 "1-1xm4s", "0-1.m4s", "01-1.m4s", "1-01.m4s", "1--1.m4s", "-1-1.m4s", "\u0663-1.m4s", "1-init.mp4",
                 "1-init-1.m4s", "1-init-01.mp4", "1-init-1234567890.mp4", "1-init-1xmp4", gap_name(7))  # fmt: skip
WRONG_MEDIA = ("/live/a", "/live/axflv", "/live/a/masterxm3u8", "/live/a/source/indexxm3u8", "/live/a/index.m3u8",
               "/live/a/source/master.m3u8", "/live/a/source.flv", "/live/a.flv/", "/LIVE/a.flv")  # fmt: skip
WRONG_STEERING = ("/go", "/go/live/a", "/go/live/a/", "/go/live/axflv", "/go/live/a/masterxm3u8", "/go/live/a.flvx",
                  "/go/live/a/source/index.m3u8", "/go/live/.flv", "/go//live/a.flv", "/GO/live/a.flv", "/live/a.flv",
                  "/steer", "/steer/", "/steer/a/b", "/steer/a\n", "/take/a")  # fmt: skip


def groups(pattern: re.Pattern[bytes], path: str) -> dict[str, str]:
    match = pattern.fullmatch(path.encode())
    assert match is not None, path
    return {name: text.decode() for name, text in match.groupdict().items() if text is not None}


@given(streams, renditions, inits, segments)
def test_a_made_path_says_what_it_was_made_of(stream: str, rendition: str, init: str, segment: str) -> None:
    assert stream_name(stream) == stream
    assert rendition_name(rendition) == rendition
    assert is_init(init)
    assert not is_init(segment)
    of_rendition = {"stream": stream, "rendition": rendition}
    for path, said in (
        (flv_path(stream), {"stream": stream, "flv": ".flv"}),
        (multivariant_path(stream), {"stream": stream, "multivariant": "master.m3u8"}),
        (playlist_path(stream, rendition), {**of_rendition, "playlist": "index.m3u8"}),
        (object_path(stream, rendition, init), {**of_rendition, "init": init}),
        (object_path(stream, rendition, segment), {**of_rendition, "segment": segment}),
    ):
        assert groups(MEDIA_PATH, path) == said
        match = MEDIA_PATH.fullmatch(path.encode())
        assert match is not None
        assert match.lastgroup == list(said)[-1]


@given(streams)
def test_a_made_path_of_steering_or_a_take_says_of_which_stream(stream: str) -> None:
    for media in (multivariant_path(stream), flv_path(stream)):
        assert groups(STEERING_PATH, go_path(media)) == {"media": media, "sent": stream}
    assert groups(STEERING_PATH, steering_path(stream)) == {"steered": stream}
    assert groups(TAKE_PATH, take_path(stream)) == {"kind": "take", "stream": stream}
    assert groups(TAKE_PATH, taken_path(stream)) == {"kind": "taken", "stream": stream}


MAKERS: dict[str, Callable[..., str]] = {
    "flv": lambda stream, _: flv_path(stream),
    "multivariant": lambda stream, _: multivariant_path(stream),
    "playlist": playlist_path,
}


@given(nearly | nearly.map("/live/a/720p/{}".format) | nearly.map("/live/{}.flv".format))
def test_what_is_read_as_a_media_path_is_what_would_be_made(path: str) -> None:
    if MEDIA_PATH.fullmatch(path.encode()) is None:
        return
    said = groups(MEDIA_PATH, path)
    stream, rendition, kind = said["stream"], said.get("rendition", ""), list(said)[-1]
    if kind in ("init", "segment"):
        epoch, *_, number = re.split("[-.]", said[kind])[:-1]
        assert said[kind] == (init_name if kind == "init" else segment_name)(int(epoch), int(number))
        made = object_path(stream, rendition, said[kind])
    else:
        made = MAKERS[kind](stream, rendition)
    assert made == path


@given(streams, st.integers(0, 70), st.characters(exclude_characters=ALNUM + "_-", codec="utf-8"))
def test_one_other_character_makes_a_wrong_name_and_a_wrong_path(stream: str, at: int, wrong: str) -> None:
    name = stream[:at] + wrong + stream[at:]
    with pytest.raises(InvalidName):
        stream_name(name)
    for path in (multivariant_path(name), playlist_path(name, "source"), object_path(name, "source", "1-1.m4s")):
        assert MEDIA_PATH.fullmatch(path.encode()) is None
    for pattern, path in (
        (MEDIA_PATH, flv_path(name)),
        (STEERING_PATH, steering_path(name)),
        (STEERING_PATH, go_path(flv_path(name))),
        (TAKE_PATH, take_path(name)),
        (TAKE_PATH, taken_path(name)),
    ):
        assert pattern.fullmatch(path.encode()) is None


@pytest.mark.parametrize("name", WRONG_STREAMS)
def test_a_wrong_stream_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="1 to 64 letters, digits"):
        stream_name(name)
    assert TAKE_PATH.fullmatch(take_path(name).encode()) is None


@pytest.mark.parametrize("name", WRONG_RENDITIONS)
def test_a_wrong_rendition_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="'source' or a height"):
        rendition_name(name)
    assert MEDIA_PATH.fullmatch(playlist_path("a", name).encode()) is None


@pytest.mark.parametrize("name", WRONG_NODES)
def test_a_wrong_node_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="at most 64 letters"):
        node_name(name)


@pytest.mark.parametrize("name", ["", "a", "edge-1.example_x", "-", ".", "a" * 64])
def test_a_node_may_have_any_plain_name_or_none(name: str) -> None:
    assert node_name(name) == name


@pytest.mark.parametrize("name", WRONG_OBJECTS)
def test_a_wrong_object_name_is_refused(name: str) -> None:
    assert MEDIA_PATH.fullmatch(object_path("a", "source", name).encode()) is None
    assert not is_init(name)


@pytest.mark.parametrize("path", WRONG_MEDIA)
def test_what_is_no_media_path_is_refused(path: str) -> None:
    assert MEDIA_PATH.fullmatch(path.encode()) is None


@pytest.mark.parametrize("path", WRONG_STEERING)
def test_what_is_no_path_of_steering_is_refused(path: str) -> None:
    assert STEERING_PATH.fullmatch(path.encode()) is None


def test_patterns_for_whole_names_have_no_groups_and_no_open_alternatives() -> None:
    for pattern in (names.STREAM, names.RENDITION, names.NODE, names.INIT, names.SEGMENT):
        assert re.compile(pattern).groups == 0
        assert re.fullmatch(f"<{pattern}>", "<source") is None
        assert re.fullmatch(f"<{pattern}>", "source>") is None
