"""Shapes: a line of text that says what the arguments of a forward are, and the points that are drawn from it."""
