"""
Fetching from upstream nodes over HTTP.

- ``tier``: all nodes of the upstream tier, one after the other
- ``node``: one of them
- ``connections``: pooled TCP connections to it
- ``body_reader``: response bodies, with deadlines
"""
