"""Ready definitions of Sources for the webhooks of other systems, with samples of what those systems send."""
