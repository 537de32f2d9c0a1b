"""The collector's HTTP routes: one file per kind of request."""
