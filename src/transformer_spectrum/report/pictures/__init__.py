"""Pictures of one run, as PNG files."""
