"""Making it so: what is wanted becomes what runs.

`driver` is the seam to where replicas run, `reconcile` decides what to do, `keeper` does it. Nothing here knows how a
request travels: the gate is one more process that is kept running, and learns where replicas are from a routes file.
"""

import logging

logging.getLogger("polyfleet").addHandler(logging.NullHandler())  # who wants to read it says where; the keeper does
