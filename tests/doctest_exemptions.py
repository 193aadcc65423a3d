"""Public functions whose docstrings have no example, each with the reason."""

DVC = "talks to git, dvc or the network"
OURS = "writes files of this repository"
SLOW = "draws figure files or starts a browser's engine, which takes seconds"

ANALYSIS: dict[str, str] = {}
REPORT = {
    "dvc_plots.__main__.main": OURS,
    "dvc_plots.pictures.write_pngs": DVC,
    "page.vega.bundle": SLOW,
    "pictures.outputs.write_outputs": SLOW,
}

EXEMPT = {"analysis": ANALYSIS, "report": REPORT}
"""Room -> function, seen from the room -> reason."""
