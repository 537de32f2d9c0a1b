"""Definitions applied over the history that is there already: what a change concerns, its seed, its members, the switch."""
