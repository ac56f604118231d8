"""What systemd is told (sd_notify(3)): that the process is ready, that it lives, that it stops."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from attrs import frozen


@frozen
class Notifier:
    """Speaks to the socket that systemd names in the environment; without one, to nobody."""

    address: str
    watchdog_s: float

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """``watchdog_s`` is how often to say ``WATCHDOG=1``: twice as often as systemd wants it; 0 is never."""
        address = environ.get("NOTIFY_SOCKET", "")
        watchdog = environ.get("WATCHDOG_USEC", "")
        return cls(address.replace("@", "\0", 1), int(watchdog) / 2e6 if watchdog.isdigit() else 0.0)

    def say(self, state: str) -> None:
        """Send a state such as ``READY=1``."""
        if self.address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
                speaker.sendto(state.encode("ascii"), self.address)
