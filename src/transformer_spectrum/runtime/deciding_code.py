"""The code that decides the bits of what is made: rooms, parts of rooms and modules, each list of them once.

The stages' `deps` in dvc.yaml, the fingerprint in resume files and the requests of a study all say what is here.
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
