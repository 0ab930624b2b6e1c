"""`python -m worker join …`: the command `webxen-worker` where nothing was installed."""

import sys

from worker.cli.join import main

if __name__ == "__main__":
    sys.exit(main())
