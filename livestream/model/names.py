"""
Names of streams, renditions, nodes and objects, and the paths made of them: the one place that writes and reads them.

`STREAM`, `RENDITION`, `NODE`, `INIT` and `SEGMENT` are regular expressions for a whole name, to build others from.
`MEDIA_PATH`, `STEERING_PATH` and `TAKE_PATH` match paths as they came over the network, raw and undecoded. Makers of
names and paths trust what they are given; ``*_path("<stream>")`` is the same path as a Klein route.
"""

from __future__ import annotations

import re

APP = "live"
"""The RTMP application, and the first step of every media path."""

SOURCE = "source"
"""The rendition that is passed through as the broadcaster encoded it."""

STREAM = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
RENDITION = rf"(?:{SOURCE}|[1-9][0-9]{{1,3}}p)"
NODE = r"[A-Za-z0-9_.-]{1,64}"

_EPOCH = r"[1-9][0-9]{0,15}"
INIT = rf"{_EPOCH}-init-(?:0|[1-9][0-9]{{0,8}})\.mp4"
SEGMENT = rf"{_EPOCH}-(?:0|[1-9][0-9]{{0,15}})\.m4s"

MEDIA_PATH = re.compile(
    rf"/{APP}/(?P<stream>{STREAM})(?:(?P<flv>\.flv)|/(?:(?P<multivariant>master\.m3u8)"
    rf"|(?P<rendition>{RENDITION})/(?:(?P<playlist>index\.m3u8)|(?P<init>{INIT})|(?P<segment>{SEGMENT}))))".encode()
)
"""What can be asked for of a stream. The group that matched last, ``lastgroup``, says which of the five it is."""

STEERING_PATH = re.compile(
    rf"/go(?P<media>/{APP}/(?P<sent>{STREAM})(?:/master\.m3u8|\.flv))|/steer/(?P<steered>{STREAM})".encode()
)
"""What players ask for an edge: to be sent to one with the path ``media``, or to be steered while they play."""

TAKE_PATH = re.compile(rf"/(?P<kind>take|taken)/(?P<stream>{STREAM})".encode())
"""What nodes POST to each other when one takes a stream."""

_STREAM = re.compile(STREAM)
_RENDITION = re.compile(RENDITION)
_NODE = re.compile(NODE)
_INIT = re.compile(INIT)


class InvalidName(ValueError):
    """A name that cannot be a stream's, a rendition's or a node's; the message says what would be right."""


def stream_name(text: str) -> str:
    """
    Return ``text`` if it can name a stream.

    :raises InvalidName: it is not 1 to 64 of ``A-Z a-z 0-9 _ -``, beginning with a letter or a digit.
    """
    if _STREAM.fullmatch(text) is None:
        raise InvalidName("a stream name is 1 to 64 letters, digits, '_' or '-', the first a letter or digit")
    return text


def rendition_name(text: str) -> str:
    """
    Return ``text`` if it can name a rendition.

    :raises InvalidName: it is neither ``source`` nor a height such as ``720p``.
    """
    if _RENDITION.fullmatch(text) is None:
        raise InvalidName("a rendition is 'source' or a height such as '720p'")
    return text


def node_name(text: str) -> str:
    """
    Return ``text`` if it can name a node; the empty name is that of nobody.

    :raises InvalidName: it is not at most 64 of ``A-Z a-z 0-9 _ . -``.
    """
    if text != "" and _NODE.fullmatch(text) is None:
        raise InvalidName("a node's name is at most 64 letters, digits, '.', '_' or '-'")
    return text


def init_name(epoch: int, number: int) -> str:
    """The object name of an initialisation segment, by the epoch in which its broadcast began."""
    return f"{epoch}-init-{number}.mp4"


def segment_name(epoch: int, msn: int) -> str:
    """The object name of a segment, by the epoch that gave its media sequence number."""
    return f"{epoch}-{msn}.m4s"


def gap_name(msn: int) -> str:
    """What a playlist has in place of a segment that does not exist; nobody fetches it."""
    return f"gap-{msn}.m4s"


def is_init(name: str) -> bool:
    """Whether an object's name is that of an initialisation segment."""
    return _INIT.fullmatch(name) is not None


def multivariant_path(stream: str) -> str:
    return f"/{APP}/{stream}/master.m3u8"


def playlist_uri(rendition: str) -> str:
    """The media playlist of a rendition, relative to the multivariant playlist."""
    return f"{rendition}/index.m3u8"


def playlist_path(stream: str, rendition: str) -> str:
    return f"/{APP}/{stream}/{playlist_uri(rendition)}"


def object_path(stream: str, rendition: str, name: str) -> str:
    return f"/{APP}/{stream}/{rendition}/{name}"


def flv_path(stream: str) -> str:
    return f"/{APP}/{stream}.flv"


def go_path(media: str) -> str:
    """What sends a player to the best edge with the path ``media``."""
    return f"/go{media}"


def media_uri(media: str) -> str:
    """The path ``media``, relative to what sends players there."""
    return "../" * media.count("/") + media[1:]


def steering_path(stream: str) -> str:
    return f"/steer/{stream}"


def steering_uri(stream: str) -> str:
    """
    The same, relative to the multivariant playlist, as a SERVER-URI may be (RFC 8216bis, 4.1 and 4.4.6.6).

    It stays right behind a proxy that serves the site below a prefix.
    """
    return f"../..{steering_path(stream)}"


def watch_path(stream: str) -> str:
    """The page that plays a stream."""
    return f"/watch/{stream}"


def state_path(stream: str) -> str:
    """What a node knows of a stream, for the tier below."""
    return f"/state/{stream}"


def take_path(stream: str) -> str:
    """What a node POSTs to take a stream."""
    return f"/take/{stream}"


def taken_path(stream: str) -> str:
    """What a node POSTs to an ingest whose stream was taken."""
    return f"/taken/{stream}"
