"""How heavy the tails of a data set are."""
