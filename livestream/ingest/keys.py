"""Who may publish which stream: secrets by stream name or pattern."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from hmac import compare_digest

from attrs import field, frozen


@frozen
class PublishKeys:
    """
    The secrets of ``[ingest.keys]``: a stream's own name takes precedence over patterns, and longer patterns over
    shorter ones.

    Without any secret anyone may publish, which the configuration allows on loopback only.
    """

    secrets: Mapping[str, str] = field(repr=False)

    def admits(self, stream: str, secret: str) -> bool:
        """Whether ``secret`` allows publishing ``stream``, compared in constant time."""
        if not self.secrets:
            return True
        return compare_digest(self._secret(stream).encode(), secret.encode()) and bool(secret)

    def _secret(self, stream: str) -> str:
        if stream in self.secrets:
            return self.secrets[stream]
        patterns = sorted((p for p in self.secrets if fnmatchcase(stream, p)), key=len, reverse=True)
        return self.secrets[patterns[0]] if patterns else ""
