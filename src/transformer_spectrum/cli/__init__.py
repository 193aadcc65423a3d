"""The command line: `main` finds the command, one module each has `add` (arguments) and `run`."""
