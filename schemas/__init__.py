"""What the processes say to each other: records, topics, reasons. Pure."""
