"""Statistics of a checkpoint of anybody: every matrix beside its null."""
