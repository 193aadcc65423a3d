"""What trainings take of the memory: the estimate that they are refused by, beside the measured peak.

    python benchmarks/memory.py [--only GA]
    python benchmarks/memory.py --only spectra

Each training runs in a process of its own, of which the system tells the peak of the resident set; its data are drawn
before. Spectra are measured in another process, of a training that was made before. What next to no weights take, the
program itself, is taken off. Cases are cut to about 4 GiB: the largest models, populations, windows and ensembles that
so much allows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from transformer_spectrum.analysis.footprint import spectra_footprint
from transformer_spectrum.config.load import Params, parse_params, read_tree
from transformer_spectrum.config.tree import put
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.training.footprint import footprint

MIB = 2**20
FEW = {"data.synthetic.series": 60, "adam.epochs": 2, "es.generations": 2, "ga.generations": 2}


@dataclasses.dataclass(frozen=True)
class Case:
    """One training, or several side by side."""

    name: str
    optimizer: str
    changes: dict[str, Any]
    members: int = 1
    spectra: bool = False
    """Whether what is measured are the training's spectra, tables and figures, once it has ended."""

    @property
    def params(self) -> Params:
        tree = read_tree("params.yaml")
        for name, value in {**FEW, **self.changes}.items():
            put(tree, name, value)
        return parse_params(tree)


def wide(embed: int) -> dict[str, Any]:
    return {"model.embed_dim": embed, "model.feedforward_dim": 2 * embed}


def long(steps: int) -> dict[str, Any]:
    return {"data.sequence_length": steps, "data.synthetic.length": steps, "data.output_length": steps // 5}


PROGRAM = Case("the program itself", "adam", wide(8))
DEEP = {"model.layers": 16, "training.batch_size": 512, "data.synthetic.series": 1500}
FEW_DRAWS = {"spectra.shuffles": 3, "spectra.bootstrap": 5}
SPECTRA_PROGRAM = Case("spectra of next to no weights", "adam", {**wide(8), **FEW_DRAWS}, spectra=True)
SPECTRA = (
    Case("spectra, width 256, kept 5 times", "adam", {**wide(256), **FEW_DRAWS}, spectra=True),
    Case(
        "spectra, width 256, kept 16 times",
        "adam",
        {**wide(256), **FEW_DRAWS, "adam.epochs": 12, "training.snapshot_every": 1},
        spectra=True,
    ),
    Case("spectra, width 384, kept 5 times", "adam", {**wide(384), **FEW_DRAWS}, spectra=True),
)
CASES = (
    Case("Adam, defaults", "adam", {}),
    Case("Adam, width 704", "adam", wide(704)),
    Case("SGD, width 704", "adam", {**wide(704), "adam.algorithm": "sgd"}),
    Case("Muon, width 512", "adam", {**wide(512), "adam.algorithm": "muon"}),
    Case("Adam, LSTM of width 1024", "adam", {"model.type": "lstm", "model.embed_dim": 1024}),
    Case("Adam, 3,000 steps, a token each", "adam", {**long(3000), "model.patch_length": 1}),
    Case("Adam, 16 layers, batches of 512", "adam", {**DEEP, "adam.epochs": 1}),
    Case("OpenAI-ES, 16 layers, batches of 512", "es", {**DEEP, "es.generations": 1, "es.popsize": 4}),
    Case("Adam, LSTM of 16 layers, batches of 512", "adam", {**DEEP, "model.type": "lstm", "adam.epochs": 1}),
    Case("Adam, 20,000 series", "adam", {"data.synthetic.series": 20000, "adam.epochs": 1}),
    Case("OpenAI-ES, 512 candidates, width 512", "es", {**wide(512), "es.popsize": 512, "es.generations": 1}),
    Case("CMA-ES, 20 candidates, width 256", "es", {**wide(256), "es.algorithm": "cma", "es.popsize": 20}),
    Case("sep-CMA, 32 candidates, width 512", "es", {**wide(512), "es.algorithm": "sep_cma"}),
    Case("GA, 4 members, width 512", "ga", {**wide(512), "ga.popsize": 4, "ga.tournament_size": 2}),
    Case("GA, 160 members, width 256", "ga", {**wide(256), "ga.popsize": 160}),
    Case("96 trainings by Adam, defaults", "adam", {"adam.epochs": 1}, 96),
)


def train_one(case: Case, folder: Path) -> None:
    """In a process of its own."""
    from transformer_spectrum.training.train import Job, train, train_all

    jobs = [
        Job(
            case.params.model_copy(update={"seed": member}),
            case.optimizer,
            data=folder / "windows/windows.npz",
            models=folder / str(member) / "models",
            metrics=folder / str(member) / "metrics",
            provenance=folder / "windows/provenance.json",
            resume=folder / str(member) / "resume",
        )
        for member in range(case.members)
    ]
    for job in jobs:
        job.models.parent.mkdir()
    if len(jobs) == 1:
        train(jobs[0])
    else:
        assert not any(train_all(jobs))


def measure(case: Case, folder: Path) -> None:
    """In a process of its own, after `train_one`."""
    from transformer_spectrum.report.figures.caption import caption_of
    from transformer_spectrum.report.pictures.outputs import write_outputs

    models = {case.optimizer: folder / "0/models"}
    places = {name: folder / name for name in ("plots", "metrics")}
    write_outputs(case.params, models, caption_of(case.params, False), **places)


def peak_of(case: Case, folder: Path) -> float:
    """Of the resident set of a process that trains; MiB.

    Raises:
        RuntimeError: it has failed.
    """
    draw_synthetic(case.params, folder / "raw")
    prepare(case.params, folder / "raw", folder / "windows", folder / "description.json")
    if case.spectra:
        train_one(case, folder)
    command = [sys.executable, __file__, "--train", json.dumps([case.name, str(folder)])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{case.name}: ended with status {status}")
    return usage.ru_maxrss / 1024


def row(case: Case, program: float) -> str:
    """Of the table; `program` in MiB."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        peak = peak_of(case, Path(name))
        series = case.params.data.synthetic.series  # each is one window
        whole = footprint(case.params, case.optimizer, features=1, windows=series)
        if case.spectra:
            whole = spectra_footprint({case.optimizer: Path(name) / "0/models"})
    estimate, taken = case.members * whole.size / MIB, peak - program
    cells = [f"{whole.weights:,}", f"{estimate:,.0f}", f"{taken:,.0f}", f"{peak:,.0f}", f"{estimate / taken:.2f}"]
    return f"| {' | '.join([case.name, *cells, f'{time.monotonic() - began:.0f}'])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.train:
        name, folder = json.loads(chosen.train)
        case = {case.name: case for case in (PROGRAM, SPECTRA_PROGRAM, *CASES, *SPECTRA)}[name]
        (measure if case.spectra else train_one)(case, Path(folder))
        return
    for alone, cases in ((PROGRAM, CASES), (SPECTRA_PROGRAM, SPECTRA)):
        asked = [case for case in cases if chosen.only in case.name]
        if not asked:
            continue
        with tempfile.TemporaryDirectory() as name:
            program = peak_of(alone, Path(name))
        print(f"{alone.name}: {program:,.0f} MiB\n")
        print("| work | weights | estimated, MiB | measured, MiB | with the program | ratio | s |")
        print("|---|---|---|---|---|---|---|")
        for case in asked:
            print(row(case, program), flush=True)


if __name__ == "__main__":
    main()
