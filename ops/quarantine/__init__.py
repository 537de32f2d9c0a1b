"""Records in quarantine: listing, repairing, replaying and discarding them."""
