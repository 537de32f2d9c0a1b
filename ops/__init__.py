"""The operator's hand: the onefold command, the embedded stack, replay and verify."""
