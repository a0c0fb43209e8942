"""Repairs in the user's own source: the small edits of a backward that undo a known mistake. Level 1."""

from __future__ import annotations

from gradcheck.explanation.edits.edit import Aim as Aim
from gradcheck.explanation.edits.edit import Edit as Edit
from gradcheck.explanation.edits.edit import edits as edits
from gradcheck.explanation.edits.source import NoSource as NoSource
from gradcheck.explanation.edits.source import source_of as source_of
