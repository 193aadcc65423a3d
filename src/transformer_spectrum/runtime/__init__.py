"""What every program needs: errors, files, progress, signals, seeds, provenance."""
