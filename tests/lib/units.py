"""How closed the services are: `systemd-analyze security` says 0 for closed and 10 for open."""

import re

# At most (systemd-timesyncd has 2.1, chrony 3.7, gearmand 9.2).
EXPOSURE_MAX = {"mr-masterd": 1.5, "mr-workerd": 2.0, "mr-task@": 1.0,
                "timesyncd-lite": 2.0, "timesyncd-lite-server": 2.0}


def exposure(said):
    """The number in what it said."""
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    if not found:
        raise AssertionError(said[-1000:])
    return float(found.group(1))
