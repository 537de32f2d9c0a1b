"""`python -m activation`."""

from activation.main import main
from runtime.lifecycle import run

if __name__ == "__main__":
    run("activation", main)
