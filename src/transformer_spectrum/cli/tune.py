"""The command `tune`: an optimizer's learning rate and step sizes, found by short trainings, as an overlay."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformer_spectrum.cli.options import COLUMNS, add_columns, add_force
from transformer_spectrum.config import tree
from transformer_spectrum.runtime.replacement import scratch_folder
from transformer_spectrum.vocabulary import command_of

if TYPE_CHECKING:
    from transformer_spectrum.config.resolve import Settings
    from transformer_spectrum.study.tune import Tuning

WINDOWS = Path("data/processed/windows.npz")
TRIALS = 20


def table(tuning: Tuning) -> str:
    """All trials, the best first, as lines of aligned columns.

    >>> from transformer_spectrum.study.tune import Trial, Tuning
    >>> committed = Trial(0, {"adam.learning_rate": 0.003}, 0.5, 90, 3, pruned=False, ended="all 3 steps done")
    >>> print(table(Tuning("adam", "sgt", 90, 1, "covid data", [committed])))
    trial          adam.learning_rate  validation MAE  evaluations  steps  ended
    0 (committed)  0.003               0.5             90           3      all 3 steps done
    """
    names = list(tuning.best.values)
    rows = [["trial", *names, "validation MAE", "evaluations", "steps", "ended"]]
    for trial in tuning.trials:
        values = [f"{trial.values[name]:.3g}" for name in names]
        number = f"{trial.number}{' (committed)' if trial.number == 0 else ''}"
        rows.append([number, *values, f"{trial.score:.6g}", str(trial.evaluations), str(trial.steps), trial.ended])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def overlay(tuning: Tuning, words: Sequence[str] = ()) -> str:
    """The best values as an overlay on params.yaml, with how they were found in comments.

    Args:
        tuning: what was found.
        words: further ones of the command.

    >>> from transformer_spectrum.study.tune import Trial, Tuning
    >>> committed = Trial(0, {"adam.learning_rate": 0.003}, 0.5, 90, 3, pruned=False, ended="all 3 steps done")
    >>> better = Trial(1, {"adam.learning_rate": 0.01}, 0.25, 90, 3, pruned=False, ended="all 3 steps done")
    >>> overlay(Tuning("adam", "sgt", 90, 1, "covid data", [better, committed])).splitlines()[-4:]
    ['loss:', '  type: sgt', 'adam:', '  learning_rate: 0.01']
    """
    import yaml

    best, committed = tuning.best, tuning.committed
    content = tree.nest({"loss.type": tuning.loss, **best.values})
    pruned = sum(trial.pruned for trial in tuning.trials)
    settings = f"--trials {len(tuning.trials)} --evaluations {tuning.evaluations} --seed {tuning.seed}"
    settings = " ".join((settings, *words))
    trial_0 = ", ".join(f"{name} {value!r}" for name, value in committed.values.items())
    verdict = (
        "No trial did better than the committed values, which these are."
        if best.number == 0
        else f"Lowest validation MAE: {best.score:.6g} in trial {best.number}."
    )
    lines = [
        f"Found by: transformer-spectrum tune {tuning.optimizer} --loss {tuning.loss} {settings}",
        f"Trials: {len(tuning.trials)}, {pruned} of them pruned, each of at most {tuning.evaluations} evaluations "
        "(overshot by less than a step).",
        f"Trained on: {tuning.origin}.",
        verdict,
        f"Committed values (trial 0): {committed.score:.6g} with {trial_0}.",
    ]
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(content, sort_keys=False)


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["es"]).trials
    20
    """
    command.add_argument("optimizer", metavar="OPTIMIZER", help="adam, es or ga")
    command.add_argument("--loss", metavar="LOSS", help="mse, mae, cauchy or sgt; loss.type if not given")
    command.add_argument("--trials", type=int, default=TRIALS, metavar="N", help=f"how many; {TRIALS} if not given")
    command.add_argument(
        "--evaluations", type=int, metavar="N", help="forward passes of one trial; a quarter of a full training's"
    )
    command.add_argument("--seed", type=int, metavar="S", help="of the sampler; params.yaml's if not given")
    command.add_argument(
        "-d", "--dataset", metavar="FILE", help=f"series, as for train; {WINDOWS} if it is there and this is not given"
    )
    add_columns(command, "params.yaml's if not given")
    command.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="any parameter, such as es.algorithm=snes"
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="tuned_OPTIMIZER_LOSS.yaml if not given, in config/overlays/ where params.yaml lies",
    )
    add_force(command)


def run(chosen: argparse.Namespace) -> None:
    """Prints the table of trials, then writes the overlay.

    Raises:
        InputError: see `study.tune.tune`; an unknown loss too, or an overlay of somebody else.
        OSError: the overlay cannot be written.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["adam", "--out", "params.yaml"]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --out = params.yaml: is an input of this command ...
    """
    from transformer_spectrum.runtime.files import atomic_together, write_text
    from transformer_spectrum.runtime.ownership import check_file, record_beside, write_record
    from transformer_spectrum.study.tune import tune  # here: the other commands need no torch

    settings = _settings(chosen)
    params = settings.params
    seed = params.seed % 2**32 if chosen.seed is None else chosen.seed
    name = f"tuned_{chosen.optimizer}_{params.loss.type}.yaml"
    out = chosen.out or (Path("config/overlays") / name if Path("params.yaml").is_file() else Path(name))
    inputs = [Path("params.yaml"), WINDOWS, *([] if chosen.dataset is None else [Path(chosen.dataset)])]
    check_file("--out", out, inputs=inputs, force=chosen.force)
    told = any(text.startswith("data.") for text in chosen.set) or any(
        getattr(chosen, name) for name in COLUMNS.values()
    )
    with _windows(settings, own=chosen.dataset is None and not told) as data:
        tuning = tune(params, chosen.optimizer, data, trials=chosen.trials, evaluations=chosen.evaluations, seed=seed)
    print(table(tuning))
    dataset = [] if chosen.dataset is None else ["--dataset", chosen.dataset]
    for option, name in COLUMNS.items():
        dataset += [option, getattr(chosen, name)] if getattr(chosen, name) else []
    assignments = [word for text in chosen.set for word in ("--set", text)]
    with atomic_together(record_beside(out), out) as (record, text):
        write_text(text, overlay(tuning, [shlex.quote(word) for word in (*dataset, *assignments)]))
        write_record(record, {"made_by": "transformer-spectrum tune"}, {out: text})
    command = f"transformer-spectrum {command_of(tuning.optimizer)}"
    how = f"make experiment OVERLAY={out}" if Path("dvc.yaml").is_file() else f"{command} --params {out}"
    print(f"{out}: try it with {how}")


def _settings(chosen: argparse.Namespace) -> Settings:
    from transformer_spectrum.config.resolve import Asked, resolve

    flags = {} if chosen.loss is None else {"loss.type": (chosen.loss, "--loss")}
    flags |= {name: (getattr(chosen, name), option) for option, name in COLUMNS.items() if getattr(chosen, name)}
    return resolve(Asked(flags, tuple(chosen.set), dataset=chosen.dataset))


@contextlib.contextmanager
def _windows(settings: Settings, own: bool) -> Iterator[Path]:
    """The pipeline's windows where they are there and wanted, else some that are made for this and taken away."""
    from transformer_spectrum.study.single_run import prepare_windows

    if own and WINDOWS.is_file():
        yield WINDOWS
        return
    with scratch_folder() as scratch:
        processed = scratch / "processed"
        prepare_windows(settings, processed, scratch / "data.json")
        yield processed / WINDOWS.name
