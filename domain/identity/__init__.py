"""Who is one customer: identity rules, evidence, clusters, explanations, households and accounts."""
