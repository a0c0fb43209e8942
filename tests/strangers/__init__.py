"""Wrong backward passes as strangers write them, and right ones that people take for wrong.

Each is a right backward with one mistake in it, under the name of the catalogue that a careful teacher would give
it. They know nothing of the code that explains mistakes.
"""

from tests.strangers import columns, images, layers, library, nets, sequences
from tests.strangers.case import Case as Case
from tests.strangers.case import RightAlthough as RightAlthough

MODULES = layers, nets, columns, images, sequences, library
CASES = sum((module.CASES for module in MODULES), ())
RIGHT_ALTHOUGH = sum((module.RIGHT_ALTHOUGH for module in MODULES), ())
