"""The figures of a run's page: their Vega-Lite specifications, their data and their numbers."""
