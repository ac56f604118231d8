"""What a path under ``/live/`` names; nothing else is ever looked up there."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from livestream.model.names import MEDIA_PATH


class Kind(StrEnum):
    """The kinds of what is served, as they are counted."""

    MULTIVARIANT = "multivariant"
    PLAYLIST = "playlist"
    INIT = "init"
    SEGMENT = "segment"
    FLV = "flv"
    STEERING = "steering"
    REDIRECT = "redirect"


_KINDS: dict[str | None, Kind] = {kind.value: kind for kind in Kind}


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
    match = MEDIA_PATH.fullmatch(path)
    if match is None:
        return None
    stream, rendition, name = match["stream"], match["rendition"] or b"", match["init"] or match["segment"] or b""
    return Target(_KINDS[match.lastgroup], stream.decode("ascii"), rendition.decode("ascii"), name.decode("ascii"))
