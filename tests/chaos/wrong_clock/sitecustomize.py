"""Python reads this before anything else: the clock of the process it is in is wrong from its first moment.

Lives here: that alone. Monotonic time goes on as it does, as it would on a host whose clock somebody set.
"""

import os
from datetime import UTC, datetime, timedelta

if seconds := int(os.environ.get("WRONG_CLOCK_SECONDS", "0")):
    import time_machine

    time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True).start()
