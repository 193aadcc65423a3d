"""Statistics of trainings and of checkpoints: metrics, nulls, tails, heads, submatrices; what the library offers."""
