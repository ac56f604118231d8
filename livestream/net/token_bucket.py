"""A rate with a burst: so much on average, and so much at once."""

from __future__ import annotations

from attrs import define, field


@define(eq=False)
class TokenBucket:
    """Holds up to ``burst`` tokens, and gets ``rate`` new ones a second. Time is passed in, in seconds."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, tokens: float, now: float) -> float:
        """Take tokens, which may leave a debt; return in how many seconds it is paid off, 0 if there is none."""
        self._refill(now)
        self._tokens -= tokens
        return max(-self._tokens / self.rate, 0.0)

    def has_token(self, now: float) -> bool:
        """Whether there is one, which is not taken."""
        self._refill(now)
        return self._tokens >= 1

    def try_take(self, now: float) -> bool:
        """Take one token if there is one; return whether there was."""
        if not self.has_token(now):
            return False
        self._tokens -= 1
        return True

    def _refill(self, now: float) -> None:
        self._tokens = min(self._tokens + max(now - self._at, 0.0) * self.rate, self.burst)
        self._at = now
