"""Statistics of the recorded trainings: families, nulls, heads, submatrices, tails, and the tables that carry them."""
