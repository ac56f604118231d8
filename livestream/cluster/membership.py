"""Who is in the cluster: this node, and all others that it knows."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs import define

from livestream.cluster.kept import KeptList
from livestream.cluster.nodes import Nodes
from livestream.steering.nodes import Node


@define(eq=False)
class Membership:
    """
    This node, ``own``, among the ``others``. ``kept`` is the list of all nodes for those that start later.

    Whoever chooses a node, to fetch from or to send a viewer to, chooses from :meth:`nodes`.
    """

    own: Node
    others: Nodes
    kept: KeptList | None = None

    def nodes(self) -> Sequence[Node]:
        """All nodes that live, this one first, and last those that are cut off from the bus."""
        return [self.own, *self.others.alive()]

    def reachable(self, role: str) -> Sequence[Node]:
        """
        The other nodes of ``role`` that have not said goodbye and were heard, or have answered, within ten minutes.

        What none of them knows, nobody knows: they are more than :meth:`nodes` has, for some may have been given up.
        """
        return [node for node in self.others.reachable() if node.role == role]

    @property
    def knows_nodes(self) -> bool:
        """Whether the nodes that there are have been learnt of, if there is a list of them."""
        return self.kept is None or self.kept.is_read

    def become(self, own: Node) -> None:
        """Be ``own`` from the next heartbeat on, in the state and with the load that this node has."""
        self.own = attrs.evolve(own, state=self.own.state, load=self.own.load)
        if self.kept is not None:
            self.kept.renew()
