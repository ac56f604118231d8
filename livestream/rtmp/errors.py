"""Whose fault it is when the wire goes wrong."""


class RtmpError(Exception):
    """Base of what this package raises."""


class RemoteProtocolError(RtmpError):
    """The peer broke the protocol or passed a limit; its connection cannot go on."""


class LocalProtocolError(RtmpError):
    """Our own side asked for what its state does not allow."""
