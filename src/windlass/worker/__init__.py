"""Make it so on one machine: containers, image layers, networks and limits, as the server wants them.

Belongs here: everything that touches namespaces, mounts, cgroups, links, runtimes and container folders. Does not
belong here: any decision about how many containers run or which input runs where (the server), and the user's code
(the runner). The worker keeps no truth: it compares what is wanted with what is, and reports.
"""
