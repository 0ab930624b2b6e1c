"""`make bench`: run the benchmarks and print their tables."""

import sys

from tests.bench import provision

if __name__ == "__main__":
    sys.exit(provision.main())
