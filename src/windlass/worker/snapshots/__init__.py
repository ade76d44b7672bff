"""Memory snapshots as living templates: containers that are forked instead of started (ADR 0012).

    family      the template's own container; forks live in pid namespaces below its own
    keeper      a program of the node beside each family: it makes cells, moves forks into them, keeps logs and ends
    cell        the namespaces and mounts that wait for one fork
    transplant  the move: system calls made by a stopped process, chosen by the keeper

Belongs here: everything between "this container could be a fork" and a running one. Does not belong here: what runs
inside the template (``runner.template``).
"""
