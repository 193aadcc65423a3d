"""The code that decides the bits of what is made: rooms, parts of rooms and modules, each list of them once.

The stages' `deps` in dvc.yaml and studies/dvc.yaml, the fingerprint in resume files and the requests of a study all
say what is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformer_spectrum.runtime.files import sha256

PACKAGE = Path(__file__).parents[1]
WINDOWS = ("data", "distributions", "runtime/seeds.py", "scores.py")
OPTIMIZERS = {
    "adam": ("optimizers/contract.py", "optimizers/gradient"),
    "es": ("optimizers/contract.py", "optimizers/evolution", "optimizers/populations.py"),
    "ga": ("optimizers/contract.py", "optimizers/ga.py", "optimizers/populations.py"),
}
SPECTRA = (
    "analysis/comparison",
    "analysis/of_training",
    "runtime/seeds.py",
    "spectra",
    "training/records",
    "weights/matrices",
)
STUDY_TRAININGS = (
    *("analysis/comparison", "analysis/of_training", "data", "distributions", "losses.py", "models", "optimizers"),
    *("runtime/seeds.py", "scores.py", "spectra", "study/answer", "study/endpoint_paths.py"),
    *("study/inference/endpoints.py", "study/protocol", "study/running/results.py", "study/running/work.py"),
    *("training", "weights/matrices"),
)
STUDY = {
    "study-tuning": (*STUDY_TRAININGS, "study/inference/matching.py"),
    "study-run": STUDY_TRAININGS,
    "study-follow": (*STUDY_TRAININGS, "study/claims.py", "study/follow_up"),
    "study-nulls": (*STUDY_TRAININGS, "study/beside_nulls", "study/inference/matching.py"),
    "study-table": (
        *("analysis/comparison", "study/answer", "study/inference/endpoints.py", "study/inference/matching.py"),
        "study/protocol",
    ),
    "study-judge": (
        *("analysis/comparison", "study/answer/matched.py", "study/answer/stored.py", "study/answer/tuned.py"),
        *("study/claims.py", "study/conclusions", "study/follow_up/endpoints.py", "study/follow_up/table.py"),
        *("study/inference", "study/protocol"),
    ),
    "study-report": (
        *("report/figures/caption.py", "report/page", "report/pictures/style.py", "report/study_page"),
        *("study/answer/stored.py", "study/beside_nulls/table.py", "study/conclusions/published.py", "vocabulary.py"),
    ),
}
"""Stage of studies/dvc.yaml -> what decides its tables."""


def of_training(optimizer: str) -> tuple[str, ...]:
    """The code that decides a training by this optimizer, and what is kept of it.

    >>> [name for name in of_training("ga") if name.startswith("optimizers")]
    ['optimizers/contract.py', 'optimizers/ga.py', 'optimizers/populations.py']
    """
    shared = ("data/windows", "distributions", "losses.py", "models", "runtime/seeds.py", "scores.py", "training")
    return (*shared, *OPTIMIZERS[optimizer], "weights/matrices")


def checksums(code: Sequence[str], package: Path = PACKAGE) -> dict[str, str]:
    """Module -> the first twelve hexadecimal digits of its SHA-256.

    Args:
        code: rooms, parts of rooms and modules, relative to the package.
        package: folder of the package, ours or one of another commit.

    >>> list(checksums(["losses.py", "distributions/sgt.py"]))
    ['distributions/sgt.py', 'losses.py']
    """
    listed = [path for name in code for path in (package / name, *(package / name).rglob("*.py"))]
    return {str(path.relative_to(package)): sha256(path)[:12] for path in sorted(set(listed)) if path.is_file()}
