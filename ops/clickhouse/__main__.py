"""`python -m ops.clickhouse`."""

import sys

from ops.clickhouse.main import main

if __name__ == "__main__":
    sys.exit(main())
