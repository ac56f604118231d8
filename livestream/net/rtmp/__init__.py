"""
RTMP over TCP: the sessions of ``livestream.rtmp`` given sockets, limits and deadlines.

- ``server``: an RTMP port
- ``connection``: one connection to it; ``player``: its end of a play
- ``limits``, ``read_budget``: what a connection may have, in all and in one turn of the reactor
- ``requests``: what peers request, who admits them, and the status codes of refusals
- ``redirect``: a player's way to another node
- ``client``: RTMP as a player
"""
