"""This node in its cluster: what it says of itself, and who else is there."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs import define

from livestream.steering.nodes import Node, NodeState


@define(eq=False)
class Presence:
    """This node among those that live. ``own`` is what it says of itself."""

    own: Node

    def nodes(self) -> Sequence[Node]:
        """All nodes that live, this one first."""
        return [self.own]

    def drain(self) -> None:
        """Take no new work from here on."""
        self.own = attrs.evolve(self.own, state=NodeState.DRAINING)
