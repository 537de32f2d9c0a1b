"""The operator's hand on identity: why two identifiers are one profile, and taking them apart."""
