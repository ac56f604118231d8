"""
Fetching from the tier above.

- ``tier``: all of its nodes, one after the other
- ``node``: one of them
- ``connections``: TCP to it
- ``body_reader``: what it sends, with deadlines
"""
