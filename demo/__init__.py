"""`onefold demo`: a Vietnamese retailer, simulated, on the whole of Onefold."""
