"""What was reached, on which budget: the chart of the page."""

from __future__ import annotations

import numpy as np
import pandas as pd

from transformer_spectrum.report.charts.parts import HOVER, Chart, Spec, axis, colour, csv, muted, number_columns, tip
from transformer_spectrum.report.figures import loss as figure_words
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import number
from transformer_spectrum.report.run import Run


def chart(run: Run) -> Chart:
    """Training and validation loss, and validation MAE.

    >>> print(*chart(run).data.splitlines()[:2], sep="\\n")
    optimizer,step,evaluations,split,loss,validation_mae,best
    adam,0,0,validation,1.1309,0.90475,0
    """
    key = ["optimizer", "step", "evaluations", "split"]
    losses, errors = run.curves["loss"][[*key, "loss"]], run.curves["validation"].assign(split="validation")
    table = losses.merge(errors[[*key, "validation_mae"]], on=key, how="outer", sort=False)
    best_steps = table["optimizer"].map(
        {name: training.scores["best_step"] for name, training in run.trainings.items()}
    )
    table["best"] = ((table["split"] == "validation") & (table["step"] == best_steps)).astype(int)
    sentences = (figure_words.LINES, figure_words.MAE_MEANING, figure_words.EVALUATION_MEANING)
    lines, *meanings = (f"{words[:1].upper()}{words[1:]}" for words in sentences)
    return Chart(
        "loss",
        figure_words.TITLE,
        f"{run.caption.loss_name}. {lines}; the dot is the {figure_words.BEST}. {'. '.join(meanings)}.",
        "Losses and validation MAE of each optimizer against steps and against evaluations.",
        _spec(run, table),
        number_columns(table),
        csv(table),
        numbers(run),
        legend=(),
    )


def _spec(run: Run, table: pd.DataFrame) -> Spec:
    """Losses, and below them validation MAE, against steps and against evaluations."""
    ink = colour(list(run.trainings))
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("split", "split", ""),
        ("step", "step", ",d"),
        ("evaluations", "evaluations", ",d"),
        ("loss", "loss", ".4g"),
        ("validation_mae", "validation MAE", ".4g"),
    )

    def panel(x: Spec, y: Spec, only: list[Spec]) -> Spec:
        place = {"x": x, "y": y, "color": ink}
        thin = {"condition": {"test": "datum.split === 'train'", "value": 0.9}, "value": 2}
        dot = {"type": "point", "filled": True, "size": 110, "stroke": "var(--paper)", "strokeWidth": 1.5, **muted()}
        return {
            "height": 250,
            "transform": [{"filter": f"isValid(datum.{y['field']})"}, *only],
            "layer": [
                {
                    "mark": {"type": "line", **muted("datum.split === 'train' ? 0.55 : 1")},
                    "encoding": {**place, "strokeWidth": thin, "detail": [{"field": "split"}]},
                },
                {"transform": [{"filter": "datum.best"}], "mark": dot, "encoding": place},
                {"mark": HOVER, "encoding": {**place, "tooltip": tooltip}},
            ],
        }

    budget = axis("evaluations", figure_words.EVALUATIONS, log=True)
    budget["axis"] = {"tickCount": 4, "format": "~s"}
    columns = [(axis("step", figure_words.STEPS), []), (budget, [{"filter": "datum.evaluations > 0"}])]
    log = figure_words.is_logarithmic(table["loss"])
    rows = [("loss", f"loss ({run.caption.loss_unit})", log), ("validation_mae", figure_words.MAE, False)]
    return {
        "concat": [
            panel(x, axis(field, title, log=as_log, domain=_ends(table[field])), only)
            for field, title, as_log in rows
            for x, only in columns
        ],
        "usermeta": {"panels": {"least": 320, "most": 2, "gutter": 70}},
    }


def _ends(values: pd.Series) -> list[float]:
    """Where the axis of two panels of the same values ends, a little beyond these."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    margin = 0.03 * (high - low or 1.0)
    return [low if low - margin <= 0 < low else low - margin, high + margin]


def numbers(run: Run) -> Table:
    """Both losses and validation MAE at the first, the best and the last step.

    >>> [row[:3] for row in numbers(run).rows[:3]]
    [('Adam', 'start', '0'), ('Adam', 'best', '3'), ('Adam', 'end', '3')]
    """
    losses = run.curves["loss"].set_index(["optimizer", "step", "split"])["loss"].to_dict()
    errors = run.curves["validation"].set_index(["optimizer", "step"])["validation_mae"].to_dict()
    rows = tuple(
        (
            run.caption.name_of(name),
            place,
            f"{step:,}",
            *(number(losses.get((name, step, split))) for split in ("train", "validation")),
            number(errors.get((name, step))),
        )
        for name, training in run.trainings.items()
        for place, step in (("start", 0), ("best", training.scores["best_step"]), ("end", training.last_step))
    )
    header = ("optimizer", "at the", "step", "training loss", "validation loss", "validation MAE")
    caption = f"Losses, {run.caption.loss_unit}, and mean absolute errors, scaled units."
    return Table(caption, header, rows, left=(0, 1))
