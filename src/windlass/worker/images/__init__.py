"""Images on this machine: the base of a chain, steps on top of it, the cache of layers, the stack for a container.

Belongs here: everything that makes or reads ``layers/``. Does not: keys and queues of builds (the server's), the
container that a step runs in (``worker.container``).
"""
