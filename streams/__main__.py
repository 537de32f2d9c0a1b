"""`python -m streams`."""

from streams.main import main

main()
