"""`python -m embedded.clickhouse`."""

import sys

from embedded.clickhouse.main import main

if __name__ == "__main__":
    sys.exit(main())
