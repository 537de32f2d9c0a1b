"""`python -m consumers`."""

from consumers.main import main
from runtime.lifecycle import run

if __name__ == "__main__":
    run("consumers", main)
