"""Forward-mode rules: the same identity with the sides exchanged. Level 4."""
