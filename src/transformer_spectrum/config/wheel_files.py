"""The repository's own files that the installed package needs too: params.yaml, the default of every parameter, the
JSON schemas and the grids of studies/grids/. The build copies them into the package (see pyproject.toml);
nothing is kept twice."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "params.yaml": "params.yaml",
    "params.schema.json": "config/schema/params.schema.json",
    "config.schema.json": "config/schema/config.schema.json",
    "studies/grids/covid.yaml": "studies/grids/covid.yaml",
    "studies/grids/rvr.yaml": "studies/grids/rvr.yaml",
    "studies/grids/synthetic.yaml": "studies/grids/synthetic.yaml",
}
"""Name -> path in the repository."""


def packaged(name: str) -> Path:
    """The file of that name: the repository's where the package runs from one, else the copy made when it was built.

    >>> packaged("params.yaml").is_file()
    True
    """
    package = Path(__file__).resolve().parents[1]
    copy = package / "packaged" / name
    return copy if copy.is_file() else package.parents[1] / FILES[name]
