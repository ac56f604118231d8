"""
The nodes of a cluster: what they tell each other about themselves, and which of them serves a viewer or a stream.

- ``messages``: a node's heartbeat, as signed JSON
- ``membership``: this node, and all others that it knows
- ``heartbeat``: sends this node's heartbeat every second
- ``nodes``: the other nodes, for as long as their heartbeats arrive
- ``runs``: the runs of their processes: tells current messages from recordings, and learns what their clocks show
- ``challenges``: the nonces that prove a message to be current
- ``cut_off``: nodes whose heartbeats no longer arrive, for as long as they answer requests
- ``directory``: the list of all nodes on the bus, for those that start
- ``load``: measures what this node carries
- ``report``: a node as JSON, for operators
- ``edge_selection``, ``upstream_selection``: which edge serves a viewer, which upstream nodes serve a stream
- ``geography``: where an address is located
"""
