"""What claims ask of weights that the study's tables do not hold: a few trainings again, measured where they end."""
