"""The verdict: whether the claimed gradients are right, and which entries are wrong."""
