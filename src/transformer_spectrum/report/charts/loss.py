"""What was reached, on which budget: the chart of the page."""

from __future__ import annotations

from transformer_spectrum.report.charts.parts import HOVER, Chart, Spec, axis, colour, csv, muted, number_columns, tip
from transformer_spectrum.report.figures import loss as figure_words
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import number
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import display_name


def chart(run: Run) -> Chart:
    """Training and validation loss.

    >>> print(*chart(run).data.splitlines()[:2], sep="\\n")
    optimizer,step,evaluations,split,loss,best
    adam,0,0,validation,1.1309,0
    """
    table = run.curves["loss"][["optimizer", "step", "evaluations", "split", "loss"]].copy()
    best_steps = table["optimizer"].map(
        {name: training.scores["best_step"] for name, training in run.trainings.items()}
    )
    table["best"] = ((table["split"] == "validation") & (table["step"] == best_steps)).astype(int)
    return Chart(
        "loss",
        figure_words.TITLE,
        f"{run.caption.loss_name}. {figure_words.LINES.capitalize()}; the dot is the {figure_words.BEST}. "
        f"{figure_words.EVALUATION_MEANING[:1].upper()}{figure_words.EVALUATION_MEANING[1:]}.",
        "Training and validation loss of each optimizer against steps and against evaluations.",
        _spec(run),
        number_columns(table),
        csv(table),
        numbers(run),
        legend=(),
    )


def _spec(run: Run) -> Spec:
    """Training and validation loss against steps and against evaluations."""
    log = figure_words.is_logarithmic(run.curves["loss"]["loss"])
    ink = colour(list(run.trainings))
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("split", "split", ""),
        ("step", "step", ",d"),
        ("evaluations", "evaluations", ",d"),
        ("loss", "loss", ".4g"),
    )

    def panel(x: Spec, only: list[Spec]) -> Spec:
        place = {"x": x, "y": axis("loss", f"loss ({run.caption.loss_unit})", log=log), "color": ink}
        thin = {"condition": {"test": "datum.split === 'train'", "value": 0.9}, "value": 2}
        dot = {"type": "point", "filled": True, "size": 110, "stroke": "var(--paper)", "strokeWidth": 1.5, **muted()}
        return {
            "height": 280,
            "transform": only,
            "layer": [
                {
                    "mark": {"type": "line", **muted("datum.split === 'train' ? 0.55 : 1")},
                    "encoding": {**place, "strokeWidth": thin, "detail": [{"field": "split"}]},
                },
                {"transform": [{"filter": "datum.best"}], "mark": dot, "encoding": place},
                {"mark": HOVER, "encoding": {**place, "tooltip": tooltip}},
            ],
        }

    steps = panel(axis("step", figure_words.STEPS), [])
    budget = axis("evaluations", figure_words.EVALUATIONS, log=True)
    budget["axis"] = {"tickCount": 4, "format": "~s"}
    return {
        "concat": [steps, panel(budget, [{"filter": "datum.evaluations > 0"}])],
        "resolve": {"scale": {"y": "shared"}},
        "usermeta": {"panels": {"least": 320, "most": 2, "gutter": 70}},
    }


def numbers(run: Run) -> Table:
    """Both losses at the first, the best and the last step.

    >>> [row[:3] for row in numbers(run).rows[:3]]
    [('Adam', 'start', '0'), ('Adam', 'best', '3'), ('Adam', 'end', '3')]
    """
    losses = run.curves["loss"].set_index(["optimizer", "step", "split"])["loss"].to_dict()
    rows = tuple(
        (
            display_name(name),
            place,
            f"{step:,}",
            *(number(losses.get((name, step, split))) for split in ("train", "validation")),
        )
        for name, training in run.trainings.items()
        for place, step in (("start", 0), ("best", training.scores["best_step"]), ("end", training.last_step))
    )
    header = ("optimizer", "at the", "step", "training loss", "validation loss")
    return Table(f"Losses, {run.caption.loss_unit}.", header, rows, left=(0, 1))
