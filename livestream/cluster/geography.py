"""Locates IP addresses by a database in MaxMind's format (https://maxmind.github.io/MaxMind-DB/)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from math import isfinite
from typing import Any, ClassVar

import maxminddb
from attrs import define, field
from twisted.logger import Logger

from livestream.config import ConfigError
from livestream.steering.nodes import Location


@define(eq=False)
class Geography:
    """
    The database in the file at ``path``, once it is :meth:`load`\\ ed; until then every location is unknown.

    It is read into memory, since truncating a mapped file would crash the process.
    """

    path: str
    _reader: maxminddb.Reader | None = field(default=None, init=False)
    _is_intact: bool = field(default=True, init=False)

    log: ClassVar[Logger] = Logger()

    def load(self) -> None:
        """
        Load or reload the file; if that fails, what was loaded before stays.

        :raises ConfigError: the file does not exist, or is not such a database.
        """
        try:
            reader = maxminddb.open_database(self.path, maxminddb.MODE_MEMORY)
        except Exception as error:  # its reader may raise anything for a malformed file
            raise ConfigError([f"cluster.geo_database: {self.path!r} cannot be read: {_message(error)}"]) from None
        self._reader, self._is_intact = reader, True

    def locate(self, address: str) -> Location | None:
        """The location of an address; ``None`` if it is unknown, or not an address."""
        if self._reader is None:
            return None
        try:
            numeric = _parse(address)
        except ValueError:
            return None
        if numeric.version > self._reader.metadata().ip_version:
            return None
        try:
            return _location(self._reader.get(numeric))
        except Exception as error:  # see above
            self._log_corrupt(error)
            return None

    def _log_corrupt(self, error: Exception) -> None:
        """Log a corrupt database once; viewers are served all the same."""
        if self._is_intact:
            self._is_intact = False
            message = "{path} is corrupt, so some viewers cannot be located; replace it and reload: {error}"
            self.log.error(message, path=self.path, error=_message(error))


def _parse(address: str) -> IPv4Address | IPv6Address:
    """
    Parse an address; an IPv4-mapped IPv6 address (``::ffff:192.0.2.1``) becomes IPv4.

    :raises ValueError: it is not an address.
    """
    numeric = ip_address(address)
    return getattr(numeric, "ipv4_mapped", None) or numeric


def _location(record: Any) -> Location | None:
    location = record.get("location") if isinstance(record, dict) else None
    if not isinstance(location, dict):
        return None
    degrees: list[Any] = [location.get("latitude"), location.get("longitude")]
    for value, limit in zip(degrees, (90, 180), strict=True):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or abs(value) > limit:
            return None
    return Location(float(degrees[0]), float(degrees[1]))


def _message(error: Exception) -> str:
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return message.partition("\n")[0][:200] or type(error).__name__
