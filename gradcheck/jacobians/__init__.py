"""Derivative matrices: Jacobians and Hessians, with the entry that is wrong. Level 4."""
