"""
Bytes near the viewer: the same cache for an origin and an edge.

- ``store``: whole objects, within a bound
- ``coalesce``: one fetch per object, however many ask
- ``upstream``: the tier above
"""
