"""
How a process goes, and what changes while it runs.

- ``drain``: how a node goes; ``drain_steps``: what each way of serving does then
- ``reload``: the configuration read again; ``reload_hooks``: what each part makes of it
- ``garbage``: when Python's collector looks
"""
