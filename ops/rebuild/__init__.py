"""Stores rebuilt from each other, and compared."""
