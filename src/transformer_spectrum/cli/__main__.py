"""python -m transformer_spectrum.cli: the command line."""

from transformer_spectrum.cli.main import main

main()
