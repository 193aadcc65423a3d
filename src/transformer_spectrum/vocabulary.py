"""Names, words, units and colours of optimizers, metrics, families, losses and data sets: each once.

Pictures, pages, `dvc plots`, tables and trackers take them from here, so that none can disagree with another. One
concept, and therefore one long module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Shade(NamedTuple):
    """A colour on white and on dark paper."""

    light: str
    dark: str


# -- optimizers ------------------------------------------------------------------------------------------------------
NAMES: Mapping[str, str] = {"adam": "Adam", "es": "ES", "ga": "GA"}
"""Optimizer -> its name for people, in the order of pictures and tables."""
ALGORITHM_NAMES: Mapping[str, str] = {"adamw": "AdamW", "sgd": "SGD", "lion": "Lion", "soap": "SOAP", "muon": "Muon"}
"""adam.algorithm, where it is another than Adam -> its name, which the training bears in Adam's place."""

SHADES: Mapping[str, Shade] = {
    # Okabe & Ito (2008): told apart under every common colour blindness; lighter where the paper is dark.
    "adam": Shade("#0072B2", "#56B4E9"),
    "es": Shade("#D55E00", "#FF8C42"),
    "ga": Shade("#009E73", "#2FD0A0"),
    "null": Shade("#6b6b6b", "#a8a8a8"),
    "null_area": Shade("#e3e3e3", "#3c3c3c"),
    "truth": Shade("#222222", "#f2f2f2"),
    "context": Shade("#767676", "#8d8d8d"),
    "warning": Shade("#c00000", "#ff6b6b"),
    "alarm": Shade("#c00000", "#d03030"),  # behind white words
}
COLOURS: Mapping[str, str] = {name: SHADES[name].light for name in NAMES}
NULL_COLOUR = SHADES["null"].light
NULL_AREA_COLOUR = SHADES["null_area"].light
TRUTH_COLOUR = SHADES["truth"].light
CONTEXT_COLOUR = SHADES["context"].light
WARNING_COLOUR = SHADES["warning"].light
LINE_SHADES = (
    # Okabe & Ito, ordered so that neighbours differ in lightness too; a marker tells them apart in grey.
    Shade("#0072B2", "#56B4E9"),
    Shade("#E69F00", "#E69F00"),
    Shade("#009E73", "#00B386"),
    Shade("#D55E00", "#F08A4B"),
    Shade("#56B4E9", "#A6D4F2"),
    Shade("#CC79A7", "#E3A3C6"),
    Shade("#1d1d1f", "#f2f2f2"),
)
"""Of what is neither an optimizer nor a loss: the families of a checkpoint."""
REVISION_SHADES = (
    Shade("#7B3FA0", "#C29BE8"),
    Shade("#C77C00", "#FFC65C"),
    Shade("#1B7F8C", "#5BD1DE"),
    Shade("#B0305C", "#FF8FB1"),
    Shade("#5F6B2D", "#C3D36B"),
    Shade("#44546A", "#A9BCD6"),
)
"""Of revisions that are compared: other hues than the optimizers'."""
MARKERS: Mapping[str, str] = {"adam": "o", "es": "s", "ga": "^"}
"""Optimizer -> matplotlib's letter, where colours mean losses."""


def colour_of(optimizer: str) -> str:
    """The colour of one optimizer, the same in every figure; black for an unknown one.

    >>> colour_of("ga"), colour_of("another")
    ('#009E73', 'black')
    """
    return COLOURS.get(optimizer, "black")


def display_name(optimizer: str, algorithm: str = "") -> str:
    """The name of an optimizer for people.

    Args:
        optimizer: one of NAMES; any other is its own name.
        algorithm: of its section; that of Adam's section names it, those of others vary what their names say.

    >>> display_name("adam"), display_name("es"), display_name("another")
    ('Adam', 'ES', 'another')
    >>> display_name("adam", "muon"), display_name("adam", "adam"), display_name("es", "cma")
    ('Muon', 'Adam', 'ES')
    """
    return ALGORITHM_NAMES.get(algorithm, NAMES.get(optimizer, optimizer))


def command_of(optimizer: str) -> str:
    """The command that trains by an optimizer.

    >>> command_of("adam"), command_of("es")
    ('train', 'train-es')
    """
    return {"adam": "train"}.get(optimizer, f"train-{optimizer}")


# -- the null, and data that are none --------------------------------------------------------------------------------
START_LABEL = "initial weights"
NULL_LABEL = "null: W0 + shuffled change"
"""Of what training does to a matrix: a path of the same length without a direction."""
CHANGE_NULL_LABEL = "null: shuffled change"
BAND_LABEL = f"{NULL_LABEL}, ± 2 sd"
BAND_MEANING = (
    "mean ± 2 standard deviations of the null: W0 plus the change with shuffled entries (of the change itself: its "
    "shuffled entries)"
)
STANDIN = "STAND-IN DATA"
STANDIN_MEANING = "simulated, no real series"

# -- metrics ---------------------------------------------------------------------------------------------------------
DIMENSIONLESS = "dimensionless"


class Metric(NamedTuple):
    """What a spectral metric is called, and what its values count."""

    name: str
    unit: str


METRICS: Mapping[str, Metric] = {
    "stable_rank": Metric("stable rank", "count"),
    "spectral_entropy": Metric("spectral entropy", "nats"),
    "spectral_norm": Metric("spectral norm", "weight units"),
    "alpha_exponent": Metric("alpha exponent", DIMENSIONLESS),
    "mp_spikes": Metric("spikes", "count"),
    "hill_alpha": Metric("Hill alpha", DIMENSIONLESS),
    "ks_alpha": Metric("KS alpha", DIMENSIONLESS),
    "spectral_entropy_normalised": Metric("entropy / ln r", DIMENSIONLESS),
    "effective_rank": Metric("effective rank", "count"),
    "participation_ratio": Metric("participation ratio", "count"),
    "frobenius_norm": Metric("Frobenius norm", "weight units"),
    "condition_number": Metric("condition number", DIMENSIONLESS),
    "numerical_rank": Metric("numerical rank", "count"),
    "alpha_exponent_se": Metric("standard error of the alpha exponent", DIMENSIONLESS),
    "alpha_exponent_r_squared": Metric("R² of the alpha exponent", DIMENSIONLESS),
    "ks_alpha_se": Metric("standard error of KS alpha", DIMENSIONLESS),
    "ks_xmin": Metric("KS xmin", "weight units squared"),
    "ks_distance": Metric("KS distance", DIMENSIONLESS),
    "ks_tail": Metric("KS tail", "count"),
    "alpha_hat": Metric("alpha hat", DIMENSIONLESS),
    "log_alpha_norm": Metric("log alpha norm", DIMENSIONLESS),
    "mp_variance": Metric("MP variance", "weight units squared"),
    "mp_upper_edge": Metric("MP edge", "weight units squared"),
    "tw_edge": Metric("Tracy-Widom edge", "weight units squared"),
    "mp_soft_rank": Metric("MP soft rank", DIMENSIONLESS),
    "mp_distance": Metric("MP distance", DIMENSIONLESS),
}
"""Every metric of `spectra.analysis`, in the order in which lists offer them."""

SUBJECTS: Mapping[str, str] = {"change_": "of the change", "step_": "of the step"}
"""What stands before a metric's name where it is not of the weights -> its words."""
EVOLUTION_METRICS = (
    "change_stable_rank",
    "stable_rank",
    "change_spectral_entropy",
    "spectral_entropy",
    "change_spectral_norm",
    "spectral_norm",
    "change_mp_spikes",
    "mp_spikes",
    "alpha_exponent",
    "hill_alpha",
    "ks_alpha",
)
"""Those that figures show against steps, from top to bottom."""
AXIS_METRICS = ("change_stable_rank", "stable_rank", "change_spectral_norm", "spectral_norm")
"""Those that the pictures against evaluations and against validation MAE show."""
HEAT_METRICS = ("stable_rank", "spectral_norm", "alpha_exponent")
"""Those that heat maps show matrix by matrix."""
DEPTH_METRICS = ("ks_alpha", "stable_rank", "spectral_entropy_normalised", "mp_spikes")
"""Those that a page on a checkpoint shows along its depth."""
ALPHA_CAUTION = "fits, not proof of a power law: untrained Gaussian matrices get one too"


def metric_words(metric: str) -> str:
    """The name of a metric for people.

    >>> metric_words("ks_alpha"), metric_words("change_stable_rank"), metric_words("my_own")
    ('KS alpha', 'stable rank of the change', 'my own')
    """
    subject, base = subject_of(metric)
    name = METRICS[base].name if base in METRICS else base.replace("_", " ")
    return f"{name} {SUBJECTS[subject]}" if subject else name


def subject_of(metric: str) -> tuple[str, str]:
    """What a metric is of, as the prefix of its name, and the name without it.

    >>> subject_of("change_ks_alpha"), subject_of("ks_alpha")
    (('change_', 'ks_alpha'), ('', 'ks_alpha'))
    """
    for subject in SUBJECTS:
        if metric.startswith(subject) and metric.removeprefix(subject) in METRICS:
            return subject, metric.removeprefix(subject)
    return "", metric


def weights_expression(field: str) -> str:
    """Whether a metric is of the weights themselves, in the language of Vega.

    Args:
        field: an expression that gives its name.

    >>> weights_expression("datum.metric")
    '!test(/^(change_|step_)/, datum.metric)'
    """
    return f"!test(/^({'|'.join(SUBJECTS)})/, {field})"


def metric_label(metric: str, *, settings: Mapping[str, str] | None = None) -> str:
    """Name and unit of a metric for an axis, in two lines, or three where it is not of the weights.

    Args:
        metric: its name.
        settings: metric -> what of its estimator's settings a reader has to know, in the unit's place where the metric
            has no dimension; see `report.figures.evolution.settings_of`.

    >>> metric_label("stable_rank"), metric_label("change_stable_rank")
    ('stable rank\\n(count)', 'stable rank\\nof the change\\n(count)')
    >>> metric_label("hill_alpha"), metric_label("hill_alpha", settings={"hill_alpha": "k = 25 % of rank"})
    ('Hill alpha\\n(dimensionless)', 'Hill alpha\\n(k = 25 % of rank)')
    >>> metric_label("mp_spikes", settings={"mp_spikes": "level 0.99"})
    'spikes (count)\\n(level 0.99)'
    """
    subject, base = subject_of(metric)
    unit, setting = METRICS[base].unit if base in METRICS else "", (settings or {}).get(base, "")
    if subject:  # what it is of has a line of its own, which leaves one for both others
        words, settled = f"{metric_words(base)}\n{SUBJECTS[subject]}", setting and unit != DIMENSIONLESS
        return f"{words}\n({unit}, {setting})" if settled else f"{words}\n({setting or unit})"
    if not setting:
        return f"{metric_words(metric)}\n({unit})" if unit else metric_words(metric)
    name = metric_words(metric) if unit == DIMENSIONLESS else f"{metric_words(metric)} ({unit})"
    return f"{name}\n({setting})"


# -- what is held equal ----------------------------------------------------------------------------------------------
AXIS_WORDS: Mapping[str, str] = {
    "step": "steps",
    "validation_mae": "validation MAE",
    "evaluations": "evaluations",
    "distance": "relative distance",
    "updates": "updates",
}
"""What figures are drawn over, and what is held equal in comparisons."""


class CrossingWords(NamedTuple):
    """Why a training has no value where something is held equal, in a table's cell and in a sentence."""

    cell: str
    clause: str


CROSSING_WORDS: Mapping[str, CrossingWords] = {
    "left_censored": CrossingWords("earlier than recorded", "passed it before its first record"),
    "right_censored": CrossingWords("never", "never reaches it"),
}

# -- families --------------------------------------------------------------------------------------------------------
HYPHENATED = (("_attention", "-attention"), ("feed_forward", "feed-forward"), ("_", " "))


def family_words(family: str) -> str:
    """The label of a family for people; `family_expression` is the same for Vega.

    >>> family_words("feed_forward"), family_words("encoder_self_attention"), family_words("encoder_gates_16x4")
    ('feed-forward', 'encoder self-attention', 'encoder gates 16×4')
    """
    for written, spoken in HYPHENATED:
        family = family.replace(written, spoken)
    return re.sub(r"(\d)x(\d)", r"\1×\2", family)


def circuit_words(family: str) -> str:
    """The label of a family of circuits for people: of which attention, and which product.

    >>> circuit_words("decoder_cross_attention_query_key")
    'decoder cross-attention, query-key'
    """
    attention, *product = family.rsplit("_", 2)
    return f"{family_words(attention)}, {'-'.join(product)}"


def family_expression(field: str) -> str:
    """`family_words` in the language of Vega.

    Args:
        field: an expression that gives the label, such as "datum.family".

    >>> family_expression("f")
    "replace(replace(replace(replace(f, /_attention/g, '-attention'), /feed_forward/g, 'feed-forward'), /_/g, ' '), \
/(\\\\d)x(\\\\d)/g, '$1×$2')"
    """
    for written, spoken in HYPHENATED:
        field = f"replace({field}, /{written}/g, '{spoken}')"
    return f"replace({field}, /(\\d)x(\\d)/g, '$1×$2')"


def family_title(family: str, count: int, shape: Sequence[int]) -> str:
    """Two lines: the words, then how many matrices of which shape.

    Args:
        family: its label, with the shape at its end where a family has several.
        count: of its matrices.
        shape: of each of them.

    >>> family_title("feed_forward", 4, (16, 32)).splitlines()
    ['feed-forward', '4 matrices, 32×16']
    >>> family_title("readout_16x4", 1, (16, 4)).splitlines()
    ['readout', '1 matrix, 16×4']
    """
    words = family_words(family.removesuffix(f"_{max(shape)}x{min(shape)}"))
    return f"{words}\n{count} {'matrix' if count == 1 else 'matrices'}, {max(shape)}×{min(shape)}"


# -- losses ----------------------------------------------------------------------------------------------------------
LOSS_NAMES: Mapping[str, str] = {"mse": "MSE", "mae": "MAE", "cauchy": "Cauchy", "sgt": "SGT"}
LOSS_UNITS: Mapping[str, str] = {
    "mse": "scaled units squared",
    "mae": "scaled units",
    "cauchy": DIMENSIONLESS,
    "sgt": "nats",
}
LOSS_COLOURS: Mapping[str, str] = {
    "mse": "#E69F00",
    "mae": "#009E73",
    "cauchy": "#D55E00",
    "sgt_wide": "#CC79A7",
    "sgt_q5": "#9ecae1",
    "sgt_q20": "#4a98c9",
    "sgt_q75": "#1764ab",
    "sgt_q100": "#08306b",
}
"""The same loss has the same colour in every figure of every study: Okabe & Ito, and blues by q."""
MORE_LOSS_COLOURS = ("#7f7f7f", "#bcbd22", "#8c564b", "#17becf", "#000000", "#9467bd")


def loss_colours(losses: Sequence[str]) -> dict[str, str]:
    """Loss -> colour; losses that have none of their own get more, in the order of the grid.

    >>> loss_colours(["mae", "mine", "yours"])
    {'mae': '#009E73', 'mine': '#7f7f7f', 'yours': '#bcbd22'}
    """
    foreign = [name for name in losses if name not in LOSS_COLOURS]
    extra = {name: MORE_LOSS_COLOURS[i % len(MORE_LOSS_COLOURS)] for i, name in enumerate(foreign)}
    return {name: LOSS_COLOURS.get(name) or extra[name] for name in losses}


# -- data sets -------------------------------------------------------------------------------------------------------
class DataWords(NamedTuple):
    """The unit of a data set's values, which may name parameters of its block in braces, and the series' licence."""

    unit: str
    licence: str


OWN_LICENCE = "MIT, as this repository"
PUBLIC_DOMAIN = "public domain: US Centers for Disease Control and Prevention"
DATA_SETS: Mapping[str, DataWords] = {
    "synthetic": DataWords("data units", OWN_LICENCE),
    "covid": DataWords("new cases a day\n({smoothing_days}-day mean)", "CC BY 4.0: Our World in Data, from JHU CSSE"),
    "rvr_beds": DataWords("inpatient beds occupied\n(mean)", PUBLIC_DOMAIN),
    "rvr_flu": DataWords("influenza admissions\n(past 7 days)", PUBLIC_DOMAIN),
    "file": DataWords("data units", "that of the file, which its owner knows"),
}
"""data.dataset -> its words."""
