"""What claims ask of where training ends, beyond the study's tables: a few trainings again, with their weights."""
