"""The answer to a protocol: its trainings run, and what they give as tables: endpoints, curves, spectra."""
