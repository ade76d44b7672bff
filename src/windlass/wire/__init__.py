"""How programs talk: messages, frames, carriers, payloads, and the one table of status and exception.

Belongs here: whatever both ends of a connection must agree on. Does not belong here: what a message
*means* (server, worker, runner and client know that), SQL, and anything that prints.
Imports only the standard library: these modules are mounted into user containers.
"""

PROTOCOL = 1
"""Version of the wire protocol; ``wire.versions`` says who works with whom."""
