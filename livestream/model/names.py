"""Names: of streams, renditions and nodes."""

from __future__ import annotations

import re

APP = "live"
"""The RTMP application, and the first step of every media path."""

SOURCE = "source"
"""The rendition that is passed through as the broadcaster encoded it."""

_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RENDITION = re.compile(r"source|[1-9][0-9]{1,3}p")
_NODE = re.compile(r"[A-Za-z0-9_.-]{0,64}")


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
    if _NODE.fullmatch(text) is None:
        raise InvalidName("a node's name is at most 64 letters, digits, '.', '_' or '-'")
    return text
