"""
Who else is there: what nodes tell each other about themselves, and where on the earth a viewer is.

- ``messages``: what a node says, as signed JSON
- ``heartbeat``: this node: what it says every second, and all who live
- ``nodes``: the others, for as long as they go on speaking
- ``runs``: what they say now, told from recordings, and what their clocks show
- ``challenges``: what they ask each other for that
- ``cut_off``: those of them that are not heard, for as long as they answer
- ``kept``: the list of all of them on the bus, for those that start
- ``load``: what this node carries
- ``report``: what is known of a node, for those who look at the cluster
- ``edge_selection``, ``upstream_selection``: which edge serves a viewer, which nodes above serve a stream
- ``geography``: where an address is
"""
