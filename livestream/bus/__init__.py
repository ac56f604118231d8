"""
What one tier tells the next.

- ``interface``: what is asked of every bus
- ``memory``: a bus within one process
- ``redis``: a bus between processes
- ``scripts``: what Redis does in one step; ``head``: the same, of who writes a stream, in Python
- ``link``: its connections, which come back; ``redis_protocols``: what is spoken on them
- ``announcements``: what is said, as JSON
- ``catalogue``: what a node has learnt from it
- ``ledger``: what a node has announced itself; ``changes``: what of that is new to who asks again
- ``receipts``: whether the tier below has that
"""
