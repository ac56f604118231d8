"""
The object cache of origins and edges.

- ``store``: whole objects, within a bound
- ``demand``: which renditions are watched
- ``fill``: an object that is being fetched
- ``cache``: one fetch per object, however many ask
- ``prefetch``: announced objects, fetched before anyone asks
- ``lanes``: a bound for how many fetches run at once
- ``upstream``: where objects come from
"""
