"""What the inputs of a check could not have shown."""
