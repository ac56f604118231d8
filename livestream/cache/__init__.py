"""
Bytes near the viewer: the same cache for an origin and an edge.

- ``store``: whole objects, within a bound
- ``demand``: what viewers ask for
- ``fill``: an object on its way
- ``cache``: one fetch per object, however many ask
- ``prefetch``: what is announced, fetched before anyone asks
- ``lanes``: so many fetches at once, and no more
- ``upstream``: where objects come from
"""
