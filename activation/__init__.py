"""Every change pushed to the marketing channels."""
