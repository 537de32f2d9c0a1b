"""The present state of profiles and identity: the port of the store, its Redis drivers, and a twin in memory."""
