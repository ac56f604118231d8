"""
Which node serves which viewer or stream. Pure: the caller supplies the nodes and the viewer's location.

- ``nodes``: a node of the cluster as the others know it
- ``geo``: distances
- ``balance``: which edge serves which viewer
- ``rendezvous``: which origin has which stream
- ``pathways``: HLS content steering manifests
"""
