"""Which upstream nodes serve a stream: those of the cluster, and those in the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from livestream.settings import Upstream
from livestream.steering.nodes import Node, NodeState
from livestream.steering.rendezvous import ranked


def unknown_holder(_stream: str) -> str:
    """The id of the node that has a stream, where that is unknown."""
    return ""


@define(eq=False)
class UpstreamSelection:
    """
    The nodes of ``role``, in the order in which they are asked for a stream.

    ``nodes`` returns all nodes that are alive or cut off from the bus. Their order is the same on every node and
    differs by stream, with those that are cut off after the others. The node that ``holder`` names comes first while it
    answers, even if cut off, since it announced the stream. Nodes that are still starting come last, in case all are,
    as after an outage. The ``fixed`` ones of the configuration follow in their own order; without a cluster they are
    the only ones.
    """

    role: str
    fixed: Sequence[Upstream]
    nodes: Callable[[], Sequence[Node]]
    holder: Callable[[str], str] = unknown_holder

    def urls(self, stream: str) -> list[str]:
        """Their HTTP URLs."""
        return _unique([node.http for node in self._of(stream)] + [each.http for each in self.fixed])

    def every_url(self) -> list[str]:
        """The HTTP URLs of all nodes, whatever their state."""
        return _unique([node.http for node in self._candidates()] + [each.http for each in self.fixed])

    def rtmp_urls(self, stream: str) -> list[str]:
        """
        Their RTMP URLs, without the nodes that do not answer, unless none does.

        Each such node would cost a relay seconds whenever it looks for its stream; that one answers again is discovered
        by requests over HTTP.
        """
        nodes = self._of(stream)
        answering = [node for node in nodes if node.is_answering]
        return _unique([node.rtmp for node in answering or nodes] + [each.rtmp for each in self.fixed])

    def addresses(self) -> dict[str, str]:
        """The RTMP URLs of all nodes that have one, by their HTTP URLs."""
        nodes = [(node.http, node.rtmp) for node in self._candidates()] + [
            (each.http, each.rtmp) for each in self.fixed
        ]
        return {http: rtmp for http, rtmp in nodes if http and rtmp}

    @property
    def has_cut_off_nodes(self) -> bool:
        """Whether some nodes are cut off from the bus, so that their announcements do not arrive."""
        return any(node.state is NodeState.CUT_OFF for node in self._candidates())

    def _of(self, stream: str) -> list[Node]:
        holder, candidates = self.holder(stream), self._candidates()
        starting = [node for node in candidates if node.state is NodeState.STARTING]
        return sorted(
            [*ranked(stream, candidates), *starting], key=lambda node: node.id != holder or not node.is_answering
        )

    def _candidates(self) -> list[Node]:
        return [node for node in self.nodes() if node.role == self.role]


def _unique(urls: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(url for url in urls if url))
