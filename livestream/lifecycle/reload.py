"""The configuration, read again while the node runs: what can change does, and what cannot is said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
from attrs import define, field
from twisted.logger import Logger

from livestream.config import ROLES, Config, ConfigError, changes

Apply = Callable[[Config], object]


@define(eq=False)
class Reloading:
    """
    Has parts take new values. ``config`` is what is in force: a setting that needs a restart keeps its old value there.

    A setting is live if some part of this process has said, with :meth:`when`, how it takes another value.
    """

    config: Config
    _live: defaultdict[str, list[Apply]] = field(factory=lambda: defaultdict(list), init=False)
    _first: list[Apply] = field(factory=list, init=False)

    log: ClassVar[Logger] = Logger()

    def first(self, setting: str, apply: Apply) -> None:
        """
        Have ``apply`` called each time, before all else, because ``setting`` names something that may have changed.

        What it raises as a ConfigError keeps all as it is.
        """
        self._first.append(apply)
        self._live.setdefault(setting, [])

    def when(self, setting: str, apply: Apply) -> None:
        """Have ``apply`` called when ``setting``, as ``section.key``, has another value."""
        self._live[setting].append(apply)

    def reload(self, read: Callable[[], Config]) -> None:
        """Take over what ``read`` returns; an error in it changes nothing, and is a line in the log."""
        try:
            new = read()
            for apply in self._first:
                apply(new)
        except ConfigError as error:
            for line in error.lines:
                self.log.error("Configuration not read again, all stays as it is: {line}", line=line)
            return
        changed = [name for name in changes(self.config, new) if self._concerns(name)]
        for name in changed:
            if name in self._live:
                self._take(name, new)
            else:
                self.log.warn("Configuration read again: {name} has changed, and needs a restart", name=name)
        live = ", ".join(name for name in changed if name in self._live)
        self.log.info("Configuration read again. New and in force: {live}", live=live or "nothing")

    def _concerns(self, name: str) -> bool:
        """Whether a setting is of this role, or of all."""
        section = name.partition(".")[0]
        return section not in ROLES or self.config.role in ("all", section)

    def _take(self, name: str, new: Config) -> None:
        for apply in self._live[name]:
            apply(new)
        section, _, key = name.partition(".")
        value: Any = getattr(getattr(new, section), key)
        evolved = attrs.evolve(getattr(self.config, section), **{key: value})
        self.config = attrs.evolve(self.config, **{section: evolved})
