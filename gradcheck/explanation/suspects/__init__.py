"""Suspicions about a wrong gradient, one module for each kind of evidence; all of them are verified. Level 3."""
