"""Faust agents that make sense of the events."""
