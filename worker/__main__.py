"""Run the `webxen-worker` command as `python -m worker` from a source tree that is not installed."""

import sys

from worker.cli.join import main

if __name__ == "__main__":
    sys.exit(main())
