"""What RTMP peers ask for, and how they are told no."""

from __future__ import annotations

from urllib.parse import urlencode

from attrs import frozen


class Refused(Exception):
    """A publisher or a player is not let in; ``code`` and the words are for its program."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


@frozen
class PublishRequest:
    """Somebody wants to publish ``name``."""

    app: str
    name: str
    query: dict[str, str]
    address: str


@frozen
class PlayRequest:
    """Somebody wants to play ``name``."""

    app: str
    name: str
    query: dict[str, str]
    address: str

    @property
    def path(self) -> str:
        """The name with its query, as it stands in a URL."""
        return f"{self.name}?{urlencode(self.query)}" if self.query else self.name
