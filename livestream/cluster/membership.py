"""The members of the cluster: this node, and all others that it knows."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs import define

from livestream.cluster.directory import NodeDirectory
from livestream.cluster.nodes import Nodes
from livestream.steering.nodes import Node


@define(eq=False)
class Membership:
    """
    This node, ``own``, among the ``others``. ``directory`` lists all nodes for those that start later.

    Nodes to fetch from, or to direct viewers to, are chosen from :meth:`nodes`.
    """

    own: Node
    others: Nodes
    directory: NodeDirectory | None = None

    def nodes(self) -> Sequence[Node]:
        """All nodes that are alive: this one first, and last those that are cut off from the bus."""
        return [self.own, *self.others.alive()]

    def reachable(self, role: str) -> Sequence[Node]:
        """
        The other nodes of ``role`` that have not said goodbye and gave a sign of life within ten minutes.

        They include those that are given up, unlike :meth:`nodes`: what none of them knows, no node knows.
        """
        return [node for node in self.others.reachable() if node.role == role]

    @property
    def knows_nodes(self) -> bool:
        """Whether the directory of nodes has been read, if there is one."""
        return self.directory is None or self.directory.is_read

    def update(self, own: Node) -> None:
        """Replace this node's description from the next heartbeat on, keeping its state and load."""
        self.own = attrs.evolve(own, state=self.own.state, load=self.own.load)
        if self.directory is not None:
            self.directory.renew()
