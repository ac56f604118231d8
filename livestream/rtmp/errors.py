"""Errors of the protocol, by whose fault they are."""


class RtmpError(Exception):
    """The base of the errors of this package."""


class RemoteProtocolError(RtmpError):
    """The peer broke the protocol or exceeded a ``limit`` (its name, or empty); the connection cannot go on."""

    def __init__(self, reason: str, limit: str = "") -> None:
        super().__init__(reason)
        self.limit = limit


class LocalProtocolError(RtmpError):
    """Our application did what the state of the session does not allow."""
