"""A platform with a jumping clock: the server's real decisions, everything else imitated.

Belongs here: loads, nodes, the bookkeeping of the apply room, and what is measured. Does not belong here: any decision.
How many containers, where, who gives, how many inputs a container holds: all of it is asked of
``windlass.server.decide``, the very functions that the server calls.
"""
