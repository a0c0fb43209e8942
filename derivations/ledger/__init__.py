"""The ledger: every equation of the source documents, as printed and corrected. ``EQUATIONS`` holds every record."""

from derivations.ledger import (
    bptt,
    columns,
    convolution,
    descent,
    error_signals,
    graphs,
    layers,
    mlp,
    recurrence,
    rows,
    rules,
    units,
    vanishing,
)

# In the order of the documents: 000, 001, 002, 003, 004.
EQUATIONS = (
    *rows.EQUATIONS,
    *bptt.EQUATIONS,
    *vanishing.EQUATIONS,
    *layers.EQUATIONS,
    *descent.EQUATIONS,
    *mlp.EQUATIONS,
    *convolution.EQUATIONS,
    *recurrence.EQUATIONS,
    *columns.EQUATIONS,
    *rules.EQUATIONS,
    *graphs.EQUATIONS,
    *error_signals.EQUATIONS,
    *units.EQUATIONS,
)
