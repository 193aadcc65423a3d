"""Where the files of a study lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StudyPlaces:
    """Of one study.

    Attributes:
        root: the folder.
        name: of the protocol's file; tables and report of another one than protocol.yaml lie in a folder of its name.

    >>> StudyPlaces(Path("studies")).trials.as_posix(), StudyPlaces.of("studies/protocol_gpu.yaml").trials.as_posix()
    ('studies/tables/trials.csv', 'studies/protocol_gpu/tables/trials.csv')
    """

    root: Path = Path("studies")
    name: str = "protocol"

    @classmethod
    def of(cls, protocol: str | Path) -> StudyPlaces:
        """Those of a protocol's file."""
        path = Path(protocol)
        return cls(path.parent, path.stem)

    @property
    def protocol(self) -> Path:
        return self.root / f"{self.name}.yaml"

    @property
    def _own(self) -> Path:
        return self.root if self.name == "protocol" else self.root / self.name

    @property
    def claims(self) -> Path:
        return self.root / "claims"

    @property
    def store(self) -> Path:
        """Every training, as a sweep keeps them: what a run that was stopped goes on from, and no output of a stage."""
        return self.root / "results" / self.name

    @property
    def trials(self) -> Path:
        """Validation MAE of every training that tuning has tried."""
        return self._own / "tables/trials.csv"

    @property
    def tuning(self) -> Path:
        """Rates, targets and margins."""
        return self._own / "tables/tuning.json"

    @property
    def cells(self) -> Path:
        """What became of every cell."""
        return self._own / "tables/cells.csv"

    @property
    def paths(self) -> Path:
        """Every endpoint at every record of every training."""
        return self._own / "tables/paths.parquet"

    @property
    def spectra(self) -> Path:
        """Mean singular values of every arm."""
        return self._own / "tables/spectra.parquet"

    @property
    def curves(self) -> Path:
        """The primary endpoints of every arm along MAE and distance."""
        return self._own / "tables/curves.csv"

    @property
    def variance(self) -> Path:
        """Shares of every endpoint's variance."""
        return self._own / "tables/variance.csv"

    @property
    def endpoints(self) -> Path:
        """Every endpoint of every cell where an axis is held equal."""
        return self._own / "tables/endpoints.parquet"

    @property
    def summary(self) -> Path:
        """Means over seeds of the endpoints."""
        return self._own / "tables/summary.csv"

    @property
    def verdicts(self) -> Path:
        return self._own / "tables/verdicts.json"

    @property
    def report(self) -> Path:
        """Folder of the page, its Markdown, the tables for a paper, and the picture of the answer."""
        return self._own / "report"


HERE = StudyPlaces()
"""The study of this repository."""
