"""
Bytes near the viewer: the same cache for an origin and an edge.

- ``store``: whole objects, within a bound
- ``interest``: what viewers ask for
- ``fill``: an object on its way
- ``coalesce``: one fetch per object, however many ask
- ``warm``: what is announced, fetched before anyone asks
- ``lanes``: so many fetches at once, and no more
- ``upstreams``: the tier above, node after node
- ``upstream``: one node of it
- ``connections``: TCP to it
- ``reader``: what it sends, with deadlines
"""
