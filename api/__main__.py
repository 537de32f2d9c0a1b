"""`python -m api`."""

from api.main import main
from runtime.lifecycle import run

if __name__ == "__main__":
    run("api", main)
