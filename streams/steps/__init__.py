"""The steps: what each agent decides for a slice."""
