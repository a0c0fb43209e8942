"""Why a gradient is wrong: evidence, suspicions, and repairs that make the check pass."""
