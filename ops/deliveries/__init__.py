"""Deliveries: what became of every message to a destination, and sending messages again."""
