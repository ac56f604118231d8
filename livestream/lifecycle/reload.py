"""Reloading the configuration while the process runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from attrs import define, field, frozen
from twisted.logger import Logger

from livestream.config import ROLES, SETTINGS, Config, ConfigError, changes

T = TypeVar("T")


@frozen
class Follower:
    """What something makes of the configuration, and how it takes another value of that."""

    value: Callable[[Config], Any]
    apply: Callable[[Any], object]


@define(eq=False)
class Reloader:
    """
    Applies new values of the settings that are declared live, and logs which settings need a restart.

    ``config`` is what is in force: a setting that needs a restart keeps its old value there.
    """

    config: Config
    followers: list[Follower] = field(factory=list, init=False)
    _checks: list[Callable[[Config], object]] = field(factory=list, init=False)

    log: ClassVar[Logger] = Logger()

    def check_first(self, apply: Callable[[Config], object]) -> None:
        """
        Call ``apply`` at every reload, before anything else: a setting names a file whose content may have changed.

        If it raises a ConfigError, the reload changes nothing.
        """
        self._checks.append(apply)

    def follow(self, value: Callable[[Config], T], apply: Callable[[T], object]) -> None:
        """Call ``apply`` with the ``value`` of the configuration in force whenever that changes."""
        self.followers.append(Follower(value, apply))

    def reload(self, read: Callable[[], Config]) -> None:
        """Apply what ``read`` returns; an error in it changes nothing, and is logged."""
        try:
            new = read()
            for apply in self._checks:
                apply(new)
        except ConfigError as error:
            for line in error.lines:
                self.log.error("configuration not reloaded, the current one stays in effect: {line}", line=line)
            return
        changed = [name for name in changes(self.config, new) if self._concerns(name)]
        live = [name for name in changed if SETTINGS[name].metadata["live"]]
        self._put_in_force(self.config.replace({name: new.get(name) for name in live}))
        for name in changed:
            if name not in live:
                self.log.warn("configuration reloaded; {name} has changed and requires a restart", name=name)
        self.log.info("configuration reloaded; applied: {live}", live=", ".join(live) or "nothing")

    def _concerns(self, name: str) -> bool:
        """Whether a setting concerns this role, or every role."""
        section = name.partition(".")[0]
        return section not in ROLES or self.config.role in ("all", section)

    def _put_in_force(self, config: Config) -> None:
        old, self.config = self.config, config
        for each in self.followers:
            value = each.value(config)
            if value != each.value(old):
                each.apply(value)
