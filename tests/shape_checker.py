"""What checks types and shapes of the core while tests run; see `--jaxtyping-packages` in pyproject.toml."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for mypy
