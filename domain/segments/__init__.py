"""What one may ask of a profile: the segment language and its evaluator. Pure."""
