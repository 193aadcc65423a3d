"""The answer to a protocol: its trainings run, tabulated, judged and reported."""
