"""Sandboxes on this machine: containers whose process is the user's command, started by a program of ours.

``starter`` (the program) makes their namespaces and starts commands in them, the first one and all later ones; it keeps
the output of the first and tells its end. ``box`` is what a sandbox shall be, ``starting`` the worker's side of the
conversation, ``execs`` the commands under way, ``files`` the paths inside as seen from outside, ``service`` answers the
server. ``levels`` says how they can be isolated here; ``sentry`` and ``gvisor`` are those with a kernel of their own,
and ``memories`` keeps what is in it.
"""
