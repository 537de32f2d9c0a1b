"""What follows from an event's own words: browser, person or program, campaign, place. Pure, over lists that are shipped."""
