"""Where the spectra change, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from transformer_spectrum.analysis.of_training import plot_tables
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import heatmap as figure_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.style import finish, house_style, new_figure
from transformer_spectrum.vocabulary import HEAT_METRICS, metric_words

CHANGE_COLOURS = "RdBu_r"


def limits(summaries: Mapping[str, Summary]) -> dict[str, float]:
    """Metric -> where its colours end, of the same table as the page's; percent.

    >>> list(limits(summaries))
    ['stable_rank', 'spectral_norm', 'alpha_exponent']
    """
    table = plot_tables.heatmap(summaries)
    return {metric: figure_words.limit(table.loc[table["metric"] == metric, "change"]) for metric in HEAT_METRICS}


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Change since step 0 of every matrix at every step: a row for each metric, a column for each optimizer.

    >>> figure = draw(summaries, caption)
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['Adam', 'ES', 'GA']
    """
    reference = next(iter(summaries.values()))
    names, ends = reference.history.names.tolist(), limits(summaries)
    with house_style():
        figure = new_figure(3.4 * len(summaries) + 3.2, len(HEAT_METRICS) * (0.105 * len(names) + 0.6) + 1.2)
        grid = figure.subplots(len(HEAT_METRICS), len(summaries), squeeze=False, sharey=True)
        for row, metric in enumerate(HEAT_METRICS):
            for axes, (optimizer, summary) in zip(grid[row], summaries.items(), strict=True):
                steps = summary.history.steps
                mesh = axes.pcolormesh(
                    np.append(steps, steps[-1] + 1) - 0.5,
                    np.arange(len(names) + 1) - 0.5,
                    np.ma.masked_invalid(summary.change(metric).T),
                    cmap=CHANGE_COLOURS,
                    vmin=-ends[metric],
                    vmax=ends[metric],
                    rasterized=True,
                )
                axes.set_facecolor("#bbbbbb")
                axes.grid(False)
                if row == 0:
                    axes.set_title(caption.name_of(optimizer), fontweight="bold")
                if row == len(HEAT_METRICS) - 1:
                    axes.set_xlabel("step")
            grid[row, 0].set_yticks(range(len(names)), names, fontsize=5)
            label = f"{metric_words(metric)}\n{figure_words.CHANGE}"
            figure.colorbar(mesh, ax=grid[row], label=label, extend="both", pad=0.01)
        grid[0, 0].invert_yaxis()
        return finish(figure, figure_words.TITLE, caption, f"{figure_words.TEXT} Grey where the metric has no value.")
