"""Where the files of a study lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StudyPlaces:
    """Of one study; all tables but those of `paths` and `endpoints` are small and belong into git.

    Attributes:
        root: the folder.

    >>> StudyPlaces(Path("studies")).trials.as_posix()
    'studies/tables/trials.csv'
    """

    root: Path = Path("studies")

    @property
    def protocol(self) -> Path:
        return self.root / "protocol.yaml"

    @property
    def claims(self) -> Path:
        return self.root / "claims"

    @property
    def store(self) -> Path:
        """Every training, as a sweep keeps them: what a run that was stopped goes on from, and no output of a stage."""
        return self.root / "results/protocol"

    @property
    def trials(self) -> Path:
        """Validation MAE of every training that tuning has tried."""
        return self.root / "tables/trials.csv"

    @property
    def tuning(self) -> Path:
        """Rates, targets and margins."""
        return self.root / "tables/tuning.json"

    @property
    def cells(self) -> Path:
        """What became of every cell."""
        return self.root / "tables/cells.csv"

    @property
    def paths(self) -> Path:
        """Every endpoint at every record of every training."""
        return self.root / "tables/paths.parquet"

    @property
    def endpoints(self) -> Path:
        """Every endpoint of every cell where an axis is held equal."""
        return self.root / "tables/endpoints.parquet"

    @property
    def summary(self) -> Path:
        """Means over seeds of the endpoints."""
        return self.root / "tables/summary.csv"

    @property
    def verdicts(self) -> Path:
        return self.root / "tables/verdicts.json"

    @property
    def report(self) -> Path:
        return self.root / "report/index.md"
