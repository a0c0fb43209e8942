"""A survey: one pair of forward and backward, checked at many points of many shapes."""
