"""One module a command: `add` declares its arguments, `run` runs what was parsed."""
