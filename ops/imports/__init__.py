"""Files of customers and past purchases, sent to the collector."""
