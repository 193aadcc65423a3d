"""Cells of a grid on this machine's processes or on a cluster: what is missing is run, and kept with its request."""
