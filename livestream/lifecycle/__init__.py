"""
How a process runs, drains, and takes new settings.

- ``process``: what every role runs in
- ``drain``: the phases of a drain; ``drain_steps``: what each way of serving does in them
- ``derived``: limits, networks and files, derived from the settings
- ``reload``: the configuration, read again; ``reload_hooks``: how new values are applied
- ``garbage``: when Python's collector looks
"""
