"""Questions about segments: why somebody is in one, and whether the stream and ClickHouse agree on who is."""
