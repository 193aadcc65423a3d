"""A grid from its cells to one table and its figures: the command `sweep`."""
