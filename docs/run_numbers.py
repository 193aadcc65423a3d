"""The numbers of the committed run, as docs/committed_run.md shows them: `python docs/run_numbers.py` prints them.

With --write they are put into it, between the two comments. They come from the files of the run that are in
git (metrics/), so a clone without data can check them; the sentences are those of the run's own comparison.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from marked import command, replaced

from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.report.page.numbers import number, signed
from transformer_spectrum.report.run_page.axes import AXES
from transformer_spectrum.vocabulary import AXIS_WORDS, CROSSING_WORDS, display_name, metric_words

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/committed_run.md"
BEGIN = "<!-- numbers of the committed run: python docs/run_numbers.py --write -->"
END = "<!-- end of the numbers -->"
FAMILY = "feed_forward"
METRICS = ("change_stable_rank", "stable_rank")
BASELINES = {
    "persistence": "persistence",
    "seasonal_naive": "seasonal-naive",
    "context_mean": "mean of the context",
}


def markdown_table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A pipe table whose first column is left-aligned."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(name: str) -> dict:
    return json.loads((ROOT / "metrics" / name).read_text(encoding="utf-8"))


def scores() -> str:
    """What each training reached at its best step, beside the initial weights and the baselines."""
    baselines, effects = read("data.json")["baselines"], read("effects.json")
    persistence = baselines["persistence"]["mae"]
    initial = read("spectra.json")["initial"][FAMILY]["stable_rank"]
    rows = [["initial weights", "0", "", "", "", "", "", "", number(initial, 2)]]
    for optimizer in OPTIMIZERS:
        reached, endpoint = read(f"{optimizer}/scores.json"), effects[optimizer]
        error, family = reached["free_running"]["mae"], endpoint[FAMILY]
        rows.append(
            [
                display_name(optimizer),
                f"{endpoint['step']:,}",
                number(endpoint["validation_mae"]),
                number(reached["teacher_forced"]["mae"]),
                number(error),
                f"{signed(100 * (error / persistence - 1), 0)} %",
                number(family["distance"], 3),
                *(_against_null(family, metric) for metric in METRICS),
            ]
        )
    for name, title in BASELINES.items():
        error = baselines[name]["mae"]
        rows.append([title, "", "", "", number(error), f"{signed(100 * (error / persistence - 1), 0)} %", "", "", ""])
    heads = [
        "",
        "best step",
        "validation MAE",
        "test MAE, teacher-forced",
        "test MAE, free-running",
        "against persistence",
        "distance",
        *(f"{metric_words(metric)} (effect, deviations)" for metric in METRICS),
    ]
    return markdown_table(heads, rows)


def _against_null(family: dict, metric: str) -> str:
    deviations = family.get(f"{metric}_deviations")
    return f"{number(family[metric], 2)} ({signed(family[f'{metric}_effect'], 2)}, {signed(deviations)})"


def equal_rows() -> Iterator[list[str]]:
    """Both metrics of each training where something is held equal."""
    axes = read("comparison.json")["axes"]
    for axis, digits in AXES.items():
        if axis in axes:
            arms = (axes[axis]["arms"].get(optimizer) for optimizer in OPTIMIZERS)
            yield [f"{AXIS_WORDS[axis]}: {number(axes[axis]['target'], digits)}", *map(_cell, arms)]


def _cell(arm: dict | None) -> str:
    if arm is None or arm[METRICS[0]] is None:
        return "" if arm is None else CROSSING_WORDS[arm["crossing"]].cell
    values = " / ".join(number(arm[metric], 2) for metric in METRICS)
    return f"{values} (at {number(arm['updates'], 0)})"


def equal() -> str:
    """The family where something is held equal."""
    return markdown_table(["held equal", *map(display_name, OPTIMIZERS)], equal_rows())


def verdicts() -> str:
    """Every pair of trainings on all axes, and for whom it holds."""
    comparison = read("comparison.json")
    sentences = [verdict["sentence"] for verdict in comparison["verdicts"]] + comparison["sentences"]
    return "\n".join(f"- {sentence[:1].upper()}{sentence[1:]}" for sentence in sentences)


def numbers() -> str:
    """All of it, as it stands in docs/committed_run.md."""
    words = " / ".join(metric_words(metric) for metric in METRICS)
    return f"""\
{scores()}

The feed-forward matrices where all three have first reached the same ({words}, at which update or generation):

{equal()}

{verdicts()}"""


def renewed(text: str) -> str:
    """The page with the present numbers between its two comments."""
    return replaced(text, BEGIN, numbers(), END)


if __name__ == "__main__":
    command("the numbers of the committed run", PAGE, numbers, renewed)
