"""
Which node serves whom. Pure: whoever asks brings the nodes and the place of the viewer.

- ``nodes``: a node of the cluster as the others know it
- ``geo``: distances
- ``balance``: which edge serves which viewer
- ``rendezvous``: which origin has which stream
- ``pathways``: what tells players where to go
"""
