"""Every line of a hand-written backward against the true cotangent of what the forward made. Level 3."""
