"""
The bus: carries announcements of streams from one tier to the next.

- ``interface``: the protocol that every bus implements
- ``memory``: a bus within one process
- ``redis``: a bus between processes; ``redis_codec``: announcements as they travel over Redis
- ``scripts``: its atomic operations, in Lua; ``head``: the same rules for a stream's writer, in Python
- ``redis_connection``: reconnecting connections to Redis; ``redis_protocols``: the protocols on them
- ``announcements``: the JSON schema of the messages
- ``known_streams``: what a node has learnt of all streams
- ``published``: what a node has announced itself; ``changes``: incremental answers to those who poll for it
- ``acknowledgements``: whether the downstream tier has fetched it
"""
