"""
Pages for people.

- ``watch``: what is live, and a player for each stream
- ``assets``: the files that pages are made of, in ``static``
"""
