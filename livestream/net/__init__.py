"""
Sockets and what moves over them, the same for every part.

- ``listeners``: listening where a setting says
- ``rtmp_server``, ``rtmp``: an RTMP port, and one connection to it; ``rtmp_play``: RTMP as a player
- ``connection_pool``: the connections of a port, and which makes room for a newcomer
- ``addresses``, ``address_limiter``: how much one address asks for; which connection is one too many
- ``proxy_protocol``: what a proxy says of whose connection it is
- ``requests``: what peers ask of the server
- ``moving``: a player's way to another node
- ``body``: the bytes of an object, whole or arriving
- ``tcp``: the options of a socket
- ``poller``: an epoll of our own inside the reactor's
- ``ticker``: what is done every so often
- ``token_bucket``: a rate that is kept on average
- ``log_summary``: a line of the log for what strangers can cause as often as they like
- ``notify``: what systemd is told
"""
