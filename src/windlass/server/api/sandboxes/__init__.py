"""``sandbox.*``: the life of sandboxes here; commands, files and snapshots are handed on to the worker.

``life`` makes, finds and ends them; ``commands`` is what the worker answers; ``output`` what a command wrote;
``copies`` makes images and forks of them; ``memories`` keeps what they have in memory; ``visits`` leads to their ports;
``waiting`` is what these share.
"""

from windlass.server.api.sandboxes import commands as commands
from windlass.server.api.sandboxes import copies as copies
from windlass.server.api.sandboxes import life as life
from windlass.server.api.sandboxes import memories as memories
from windlass.server.api.sandboxes import output as output
from windlass.server.api.sandboxes import visits as visits
