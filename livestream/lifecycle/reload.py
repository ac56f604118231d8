"""The configuration, read again while the node runs: what can change does, and what cannot is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from attrs import define, field, frozen
from twisted.logger import Logger

from livestream.config import ROLES, SETTINGS, Config, ConfigError, changes

T = TypeVar("T")


@frozen
class Follower:
    """What a part makes of the configuration, and how it takes another value of that."""

    value: Callable[[Config], Any]
    take: Callable[[Any], object]


@define(eq=False)
class Reloading:
    """
    Has parts take new values of the settings that are declared to be live.

    ``config`` is what is in force: a setting that needs a restart keeps its old value there.
    """

    config: Config
    followers: list[Follower] = field(factory=list, init=False)
    first_of_all: list[Callable[[Config], object]] = field(factory=list, init=False)

    log: ClassVar[Logger] = Logger()

    def first(self, apply: Callable[[Config], object]) -> None:
        """
        Have ``apply`` called each time, before all else, because a setting names something that may have changed.

        What it raises as a ConfigError keeps all as it is.
        """
        self.first_of_all.append(apply)

    def follow(self, value: Callable[[Config], T], take: Callable[[T], object]) -> None:
        """Have ``take`` called with the ``value`` of the configuration in force whenever that becomes another."""
        self.followers.append(Follower(value, take))

    def reload(self, read: Callable[[], Config]) -> None:
        """Take over what ``read`` returns; an error in it changes nothing, and is a line in the log."""
        try:
            new = read()
            for apply in self.first_of_all:
                apply(new)
        except ConfigError as error:
            for line in error.lines:
                self.log.error("Configuration not read again, all stays as it is: {line}", line=line)
            return
        changed = [name for name in changes(self.config, new) if self._concerns(name)]
        live = [name for name in changed if SETTINGS[name].metadata["live"]]
        self._put_in_force(self.config.replace({name: new.get(name) for name in live}))
        for name in changed:
            if name not in live:
                self.log.warn("Configuration read again: {name} has changed, and needs a restart", name=name)
        self.log.info("Configuration read again. New and in force: {live}", live=", ".join(live) or "nothing")

    def _concerns(self, name: str) -> bool:
        """Whether a setting is of this role, or of all."""
        section = name.partition(".")[0]
        return section not in ROLES or self.config.role in ("all", section)

    def _put_in_force(self, config: Config) -> None:
        old, self.config = self.config, config
        for each in self.followers:
            value = each.value(config)
            if value != each.value(old):
                each.take(value)
