"""What runs in a process: its services, what is done at its end, how it drains, and how it takes new settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.interfaces import IProtocolFactory

from livestream.config import Config
from livestream.lifecycle.drain import Drain
from livestream.lifecycle.reload import Reloading
from livestream.lifecycle.reload_hooks import renew_draining
from livestream.net.listeners import Listener
from livestream.net.periodic import Ticker


@define(eq=False)
class Process:
    """A role adds to it what it has made; whoever runs the process starts and stops ``services``."""

    reactor: Any
    draining: Drain
    reloading: Reloading
    services: MultiService = field(factory=MultiService, init=False)

    @classmethod
    def of(cls, config: Config, reactor: Any, *, drains: bool = True) -> Process:
        """A process that has time to send its viewers elsewhere before it ends, unless there is nowhere to go."""
        draining = Drain(config.cluster.drain_s if drains else 0.0, reactor, reactor.stop)
        process = cls(reactor, draining, Reloading(config))
        if drains:
            renew_draining(process.reloading, draining)
        return process

    def run(self, service: Service) -> None:
        """Start and stop ``service`` with the process."""
        service.setServiceParent(self.services)

    def listen(self, setting: str, where: str, factory: IProtocolFactory, *, is_held: bool = False) -> Listener:
        """Have ``factory`` serve the endpoint ``where``, which is the value of ``setting``."""
        listener = Listener(setting, where, factory, self.reactor, is_held)
        self.run(listener)
        return listener

    def every(self, period_s: float, action: Callable[[], None]) -> None:
        """Call ``action`` every so often."""
        self.run(Ticker(period_s, action, self.reactor))

    def when_running(self, action: Callable[..., Any], *arguments: object) -> None:
        """Call ``action`` as soon as the reactor runs."""
        self.reactor.callWhenRunning(action, *arguments)

    def at_stop(self, action: Callable[[], Any]) -> None:
        """Call ``action`` before the process ends."""
        self.reactor.addSystemEventTrigger("before", "shutdown", action)
