"""The profile API: one person as they now are, by any of their identifiers."""
