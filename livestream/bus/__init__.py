"""
What one tier tells the next.

- ``interface``: what is asked of every bus
- ``memory``: a bus within one process
- ``redis``: a bus between processes
- ``scripts``: what Redis does in one step; ``head``: the same, of who writes a stream, in Python
- ``redis_connection``: its connections, which come back; ``redis_protocols``: what is spoken on them
- ``announcements``: what is said, as JSON
- ``known_streams``: what a node has learnt from it
- ``published``: what a node has announced itself; ``changes``: what of that is new to who asks again
- ``acknowledgements``: whether the tier below has that
"""
