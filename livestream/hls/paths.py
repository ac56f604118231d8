"""What a path under ``/live/`` names: one strict pattern over the raw bytes, and nothing else is ever looked up."""

from __future__ import annotations

import re
from enum import StrEnum

from attrs import frozen


class Kind(StrEnum):
    """The kinds of what is served, as they are counted."""

    MULTIVARIANT = "multivariant"
    PLAYLIST = "playlist"
    INIT = "init"
    SEGMENT = "segment"
    FLV = "flv"
    STEERING = "steering"
    REDIRECT = "redirect"


_PATH = re.compile(
    rb"/live/([A-Za-z0-9][A-Za-z0-9_-]{0,63})(?:(\.flv)|/"
    rb"(?:(master\.m3u8)|(source|[1-9][0-9]{1,3}p)/(?:(index\.m3u8)"
    rb"|([1-9][0-9]{0,15}-(?:init-(?:0|[1-9][0-9]{0,8})\.mp4|(0|[1-9][0-9]{0,15})\.m4s)))))"
)


@frozen
class Target:
    """
    One thing that can be asked for. Only objects have a ``name``. The multivariant playlist and FLV have no
    ``rendition`` here; that of FLV is in the query.
    """

    kind: Kind
    stream: str
    rendition: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """It in a word, for a log."""
        return "/".join(filter(None, (self.stream, self.rendition, self.name or self.kind)))


def parse_path(path: bytes) -> Target | None:
    """Return what a raw, undecoded path names; ``None`` when it is not exactly one of ours."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    stream = match[1].decode("ascii")
    if match[2] is not None:
        return Target(Kind.FLV, stream)
    if match[3] is not None:
        return Target(Kind.MULTIVARIANT, stream)
    rendition = match[4].decode("ascii")
    if match[5] is not None:
        return Target(Kind.PLAYLIST, stream, rendition)
    kind = Kind.INIT if match[7] is None else Kind.SEGMENT
    return Target(kind, stream, rendition, match[6].decode("ascii"))
