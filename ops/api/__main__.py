"""`python -m ops.api`."""

from ops.api.main import main
from runtime.lifecycle import run

if __name__ == "__main__":
    run("api", main)
