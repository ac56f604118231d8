"""
RTMP over TCP: the sessions of ``livestream.rtmp`` given sockets, limits and deadlines.

- ``server``: an RTMP port
- ``connection``: one connection to it
- ``requests``: what peers request, who admits them, and the status codes of refusals
- ``redirect``: a player's way to another node
- ``client``: RTMP as a player
"""
