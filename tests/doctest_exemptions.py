"""Public functions whose docstrings have no example, each with the reason."""

DVC = "talks to git, dvc or the network"
WRITES_OURS = "writes files of this repository"

REPORT = {
    "dvc_plots.__main__.main": WRITES_OURS,
    "dvc_plots.pictures.write_pngs": DVC,
}
ANALYSIS: dict[str, str] = {}

EXEMPT = {"report": REPORT, "analysis": ANALYSIS}
"""Room -> function, seen from the room -> reason."""
