"""The skewed generalized t distribution."""
