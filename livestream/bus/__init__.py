"""
What one tier tells the next.

- ``memory``: what a bus is, and one within a process
- ``redis``: a bus between processes, and the only importer of txredisapi
- ``link``: its connections, which come back
- ``announcements``: what is said, as JSON
- ``catalogue``: what a node has learnt from it
- ``ledger``: what a node has announced itself
- ``receipts``: whether the tier below has that
"""
