"""The many-runs side: grids of trainings, run, verified and gathered in one table."""
