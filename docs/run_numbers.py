"""The numbers of the committed run, as README.md shows them: `python docs/run_numbers.py` prints them as Markdown.

With --write they are put into README.md, between the two comments. They come from the files of the run that are in
git (metrics/ and plots/), so a clone without data can check them; what is held equal is chosen as the report does it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.report.run_page.axes import AXES, Record, at_equal
from transformer_spectrum.vocabulary import display_name

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN = "<!-- numbers of the committed run: python docs/run_numbers.py --write -->"
END = "<!-- end of the numbers -->"
FAMILY, METRIC = "feed_forward", "stable_rank"
BASELINES = {
    "persistence": "persistence",
    "seasonal_naive": "seasonal-naive",
    "context_mean": "mean of the context",
}


def scalar(optimizer: str, name: str) -> pd.Series:
    """One of DVCLive's curves: step -> value."""
    table = pd.read_csv(ROOT / f"metrics/{optimizer}/plots/metrics/{name}.tsv", sep="\t")
    return table.set_index("step")[name]


def family_curve(optimizer: str) -> pd.DataFrame:
    """The family's mean metric at the steps that the curves keep, with its initial value and its null."""
    table = pd.read_csv(ROOT / "plots/spectra_evolution.csv")
    return table[(table.optimizer == optimizer) & (table.family == FAMILY) & (table.metric == METRIC)]


def histories() -> dict[str, list[Record]]:
    """Optimizer -> what each step that the curves keep has cost and come to."""
    records = {}
    for optimizer in OPTIMIZERS:
        distance, loss = scalar(optimizer, "distance"), scalar(optimizer, "validation_loss")
        records[optimizer] = [
            Record(row.step, row.evaluations, distance[row.step], loss[row.step], row.value - row.initial)
            for row in family_curve(optimizer).itertuples()
        ]
    return records


def markdown_table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A pipe table whose first column is left-aligned."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(name: str) -> dict:
    return json.loads((ROOT / "metrics" / name).read_text(encoding="utf-8"))


def scores() -> str:
    """What each training reached, beside the initial weights and the baselines."""
    spectra, baselines = read("spectra.json"), read("data.json")["baselines"]
    persistence = baselines["persistence"]["mae"]

    def ranks(moment: str) -> list[str]:
        return [f"{spectra[moment][family][METRIC]:.2f}" for family in (FAMILY, "encoder_self_attention")]

    rows = [["initial weights", "", f"{scalar('adam', 'validation_loss')[0]:.3f}", "", "", "", *ranks("initial")]]
    for optimizer in OPTIMIZERS:
        reached = read(f"{optimizer}/scores.json")
        error = reached["free_running"]["mae"]
        rows.append(
            [
                display_name(optimizer),
                f"{reached['evaluations']:,}",
                f"{reached['best_validation_loss']:.3f}",
                f"{reached['teacher_forced']['mae']:.3f}",
                f"{error:.3f}",
                f"{100 * (error / persistence - 1):+.0f} %",
                *ranks(optimizer),
            ]
        )
    for name, title in BASELINES.items():
        error = baselines[name]["mae"]
        rows.append([title, "", "", "", f"{error:.3f}", f"{100 * (error / persistence - 1):+.0f} %", "", ""])
    heads = [
        "",
        "evaluations",
        "validation loss (nats)",
        "test MAE, teacher-forced",
        "test MAE, free-running",
        "against persistence",
        "stable rank, feed-forward",
        "stable rank, encoder self-attention",
    ]
    return markdown_table(heads, rows)


def last_steps() -> str:
    """How far each training went, and how far out of its null the family came."""
    spectra = read("spectra.json")
    rows = []
    for optimizer in OPTIMIZERS:
        last = family_curve(optimizer).iloc[-1]
        deviation = (last.null_high - last.null_low) / 4
        rows.append(
            [
                display_name(optimizer),
                f"{last.step}",
                f"{scalar(optimizer, 'distance')[last.step]:.1f}",
                f"{100 * (last.value / last.initial - 1):+.1f} %",
                f"{(last.value - last.initial) / deviation:+.1f}",
                f"{spectra[optimizer][FAMILY]['mp_spikes']:.2f}",
            ]
        )
    heads = [
        "at the last step",
        "step",
        "distance from the start",
        "stable rank, feed-forward",
        "in standard deviations of shuffles",
        "spikes beyond the bulk, a matrix",
    ]
    return markdown_table(heads, rows)


def equal_rows() -> Iterator[list[str]]:
    records = histories()
    for axis, (title, digits) in AXES.items():
        reached, there = at_equal(axis, records)
        cells = (f"{record.change:+.2f} (at {getattr(record, axis):,.{digits}f})" for record in there.values())
        yield [f"{title}: {reached:,.{digits}f}", *cells]


def equal() -> str:
    """The change of the family where something else than the last step is held equal."""
    return markdown_table(["held equal", *map(display_name, OPTIMIZERS)], equal_rows())


def numbers() -> str:
    """All of it, as it stands in README.md."""
    start = family_curve(OPTIMIZERS[0]).initial.iloc[0]
    return f"""\
{scores()}

{last_steps()}

Change of the mean stable rank of the feed-forward matrices, {start:.2f} at the start, where all three reach the same:

{equal()}"""


def renewed(text: str) -> str:
    """README.md with the present numbers between its two comments."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{numbers()}\n\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the numbers of the committed run, as README.md shows them.")
    parser.add_argument("--write", action="store_true", help="put them into README.md")
    if parser.parse_args().write:
        README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(numbers())


if __name__ == "__main__":
    main()
