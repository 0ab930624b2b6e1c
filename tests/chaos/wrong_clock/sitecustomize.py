"""Loaded by Python at start-up: sets the clock of the process ahead or back.

Monotonic time is unchanged, as on a host whose clock was set.
"""

import os
from datetime import UTC, datetime, timedelta

if seconds := int(os.environ.get("WRONG_CLOCK_SECONDS", "0")):
    import time_machine

    time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True).start()
