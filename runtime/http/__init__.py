"""The HTTP ports of all processes: one set of limits, one protocol that holds them, one way to open a port."""
