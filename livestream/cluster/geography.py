"""Where an address is, by a database in MaxMind's format (https://maxmind.github.io/MaxMind-DB/)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from math import isfinite
from typing import Any, ClassVar

import maxminddb
from attrs import define, field
from twisted.logger import Logger

from livestream.config import ConfigError
from livestream.steering.nodes import Place


@define(eq=False)
class Geography:
    """
    The database in the file at ``path``, once it is :meth:`load`\\ ed; until then nobody is anywhere.

    It is kept in memory: a file that is cut short while it is mapped ends the process.
    """

    path: str
    _reader: maxminddb.Reader | None = field(default=None, init=False)
    _is_sound: bool = field(default=True, init=False)

    log: ClassVar[Logger] = Logger()

    def load(self) -> None:
        """
        Read the file, at the start or again; what was read before stays when that fails.

        :raises ConfigError: there is no such file, or it is no such database.
        """
        try:
            reader = maxminddb.open_database(self.path, maxminddb.MODE_MEMORY)
        except Exception as error:  # what is no such database may make its reader raise anything
            raise ConfigError([f"cluster.geo_database: {self.path!r} cannot be read: {_words(error)}"]) from None
        self._reader, self._is_sound = reader, True

    def place(self, address: str) -> Place | None:
        """Where an address is; ``None`` when that is not known, or the address is none."""
        if self._reader is None:
            return None
        try:
            numeric = _plain(address)
        except ValueError:
            return None
        if numeric.version > self._reader.metadata().ip_version:
            return None
        try:
            return _place(self._reader.get(numeric))
        except Exception as error:  # as above
            self._distrust(error)
            return None

    def _distrust(self, error: Exception) -> None:
        """Viewers are served whatever the file is like; it is said once."""
        if self._is_sound:
            self._is_sound = False
            words = "{path} is corrupt, so that some viewers' places are not known; replace it and reload: {error}"
            self.log.error(words, path=self.path, error=_words(error))


def _plain(address: str) -> IPv4Address | IPv6Address:
    """
    An address as a number: one of IPv4 that comes in the clothes of IPv6 (``::ffff:192.0.2.1``) is one of IPv4.

    :raises ValueError: it is no address.
    """
    numeric = ip_address(address)
    return getattr(numeric, "ipv4_mapped", None) or numeric


def _place(record: Any) -> Place | None:
    location = record.get("location") if isinstance(record, dict) else None
    if not isinstance(location, dict):
        return None
    degrees: list[Any] = [location.get("latitude"), location.get("longitude")]
    for value, limit in zip(degrees, (90, 180), strict=True):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or abs(value) > limit:
            return None
    return Place(float(degrees[0]), float(degrees[1]))


def _words(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.partition("\n")[0][:200] or type(error).__name__
