"""Listening where a setting says, and one line that names the setting when that cannot be done."""

from __future__ import annotations

from typing import Any, cast

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import Port
from twisted.python.failure import Failure

from livestream.endpoints import parse

BACKLOG = 4096
"""
So many connections may wait in the kernel to be let in, unless an endpoint says otherwise (or the kernel, somaxconn).
With Twisted's 50 a thousand viewers who come at once, as they do when another edge has died, lose a second.
"""


class CannotListen(Exception):
    """A port cannot be had; the message names the setting."""


@define(eq=False)
class Listener(Service):
    """
    Has ``factory`` serve the endpoint ``where``, which is the value of ``setting``.

    With ``is_held`` the port is there, and who connects waits in the kernel's queue until :meth:`open`.
    """

    setting: str
    where: str
    factory: IProtocolFactory
    reactor: Any
    is_held: bool = False
    _port: IListeningPort | None = field(default=None, init=False)
    _error: CannotListen | None = field(default=None, init=False)

    def privilegedStartService(self) -> None:
        """
        Listen, while low ports may still be had.

        :raises CannotListen: the port is taken, or may not be had.
        """
        try:
            listening = serverFromString(self.reactor, self.where).listen(self.factory)
        except Exception as error:  # what reads a certificate may raise anything
            raise CannotListen(f"{self.setting}: {self.where}: {error}") from error
        listening.addCallbacks(self._listening, self._failed)
        if self._error is not None:
            raise self._error

    def stopService(self) -> Any:
        super().stopService()  # type: ignore[no-untyped-call]
        return self.close()

    def close(self) -> Any:
        """Take no more connections; those that there are go on."""
        port, self._port = self._port, None
        return None if port is None else port.stopListening()

    def open(self) -> None:
        """Take those who have waited, and all who come."""
        if self.is_held:
            self.is_held = False
            if self._port is not None:
                cast(Port, self._port).startReading()

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        if isinstance(port, Port) and "backlog" not in parse(self.where).arguments:
            port.socket.listen(BACKLOG)
        if self.is_held:
            cast(Port, port).stopReading()

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        reason: object = error
        if isinstance(error, CannotListenError):
            reason = getattr(error.socketError, "strerror", None) or error.socketError
        self._error = CannotListen(f"{self.setting}: cannot listen on {self.where}: {reason}")
