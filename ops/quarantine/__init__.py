"""What was not kept: looking at it, mending it, sending it again, giving it up."""
