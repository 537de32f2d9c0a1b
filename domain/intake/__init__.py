"""From a raw call to an event, or to the reason why it is quarantined."""
