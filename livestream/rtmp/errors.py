"""Whose fault it is when the wire goes wrong."""


class RtmpError(Exception):
    """Base of what this package raises."""


class RemoteProtocolError(RtmpError):
    """The peer broke the protocol or passed a ``limit``, if that has a name; its connection cannot go on."""

    def __init__(self, reason: str, limit: str = "") -> None:
        super().__init__(reason)
        self.limit = limit


class LocalProtocolError(RtmpError):
    """Our own side asked for what its state does not allow."""
