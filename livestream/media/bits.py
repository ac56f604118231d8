"""A bit reader for parameter sets, most significant bit first."""

from __future__ import annotations

from attrs import define, field

from livestream.media.errors import MediaError


def without_emulation(unit: bytes) -> bytes:
    """A NAL unit without its emulation prevention bytes (ITU-T H.264, 7.4.1)."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


@define(eq=False)
class BitReader:
    """Reads ``data`` bit by bit; reading past the end raises :class:`MediaError`."""

    data: bytes
    _value: int = field(init=False)
    _left: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._value = int.from_bytes(self.data, "big")
        self._left = len(self.data) * 8

    @property
    def position(self) -> int:
        """How many bits were read."""
        return len(self.data) * 8 - self._left

    def bits(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number."""
        self._left -= count
        if self._left < 0:
            raise MediaError("a parameter set is cut short")
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.bits(1) == 1

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (ITU-T H.264, 9.1)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise MediaError("a parameter set has a number of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        number = self.ue()
        return (number + 1) // 2 if number & 1 else -(number // 2)
