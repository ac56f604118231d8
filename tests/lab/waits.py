"""The longest wait for something that happens again and again, while it may be expected."""

from __future__ import annotations

from attrs import define, field


@define(eq=False)
class LongestWait:
    """
    The longest time between two events, without the times in which none is expected.

    Nothing is expected before the first event.
    """

    longest_s: float = field(default=0.0, init=False)
    longest_until_s: float = field(default=0.0, init=False)
    is_expected: bool = field(default=True, init=False)
    _since_s: float | None = field(default=None, init=False)

    def happened(self, now_s: float) -> None:
        self.note(now_s)
        self._since_s = now_s

    def expect(self, is_expected: bool, now_s: float) -> None:
        """Say whether events are expected from now on; a wait begins anew when they are again."""
        if is_expected == self.is_expected:
            return
        self.note(now_s)
        self.is_expected = is_expected
        if self._since_s is not None:
            self._since_s = now_s

    def note(self, now_s: float) -> None:
        """Count the wait that is not over yet."""
        if self.is_expected and self._since_s is not None:
            wait_s = now_s - self._since_s
            if wait_s > self.longest_s:
                self.longest_s, self.longest_until_s = wait_s, now_s
