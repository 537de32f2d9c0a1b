"""The fragment, the profile as the join of its fragments, and its memberships."""
