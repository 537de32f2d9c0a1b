"""`python -m collector`."""

from collector.main import main
from runtime.lifecycle import run

if __name__ == "__main__":
    run("collector", main)
