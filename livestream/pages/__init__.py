"""
Pages for people.

- ``watch``: what is live, and a player for each stream
- ``static``: the files that the pages are made of
"""
