"""One checkpoint's matrices as a text table, and what has to be said beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.results import Examination, MeasuredMatrix
from transformer_spectrum.spectra.spike_or_tail import SpikeOrTail
from transformer_spectrum.vocabulary import metric_words
from transformer_spectrum.weights.anatomy.dissection import Skipped

NAME_WIDTH = 24  # the name column shrinks to this on a narrow terminal, the family's column goes next
ALPHA_WARNING = (
    "Alpha is a fit, not proof of a power law: read it beside D, the size of the tail and the null, the mean ± "
    "standard deviation of the same fit to the same entries in random places; diff is alpha - null. It is not counted "
    "in standard deviations, because the null of alpha alone exceeds 5 of them more than once in 1,000. Alphas of "
    "different shapes cannot be compared and are not averaged."
)
NO_NULL_WARNING = (
    "Alpha is a fit, not proof of a power law, and stands here without its null: an untrained matrix gets an alpha "
    "too. --shuffles 20 draws one. Alphas of different shapes cannot be compared and are not averaged."
)


NULL_COLUMNS = ("null", "± sd", "diff")
HEADER = (
    "matrix",
    "shape",
    "family",
    "stable",
    "entropy",
    "alpha",
    "± se",
    "D",
    "tail",
    *NULL_COLUMNS,
    metric_words("mp_spikes"),
    "verdict",
    "p",
)
BOUND = "≥ and ≤: the search ended at its bound, which is no estimate."


def header(examination: Examination) -> tuple[str, ...]:
    """Titles of the table's columns: none of a null where nothing was shuffled.

    >>> header(examination)[:6], "diff" in header(examination)  # nothing was shuffled
    (('matrix', 'shape', 'family', 'stable', 'entropy', 'alpha'), False)
    """
    return tuple(title for title in HEADER if examination.has_null or title not in NULL_COLUMNS)


def meanings(examination: Examination) -> str:
    """What the columns hold.

    >>> meanings(examination).split(". ")[0]
    'stable: stable rank'
    """
    null = " null ± sd, diff: shuffled entries." if examination.has_null else ""
    return (
        "stable: stable rank. entropy: of the energies, nats. alpha ± se: Clauset's, of the tail of n = tail "
        f"eigenvalues, D its KS distance.{null} spikes: eigenvalues above the Tracy-Widom edge. verdict: whether noise "
        f"with at most r / 10 spikes explains the spectrum, or a tail is heavier; p of the test. {BOUND}"
    )


def warning(examination: Examination) -> str:
    """How an alpha is to be read.

    >>> "without its null" in warning(examination)
    True
    """
    return ALPHA_WARNING if examination.has_null else NO_NULL_WARNING


def _text_table(examination: Examination, width: int) -> str:
    """An aligned table, one line a matrix; what has no value is a dash with the number of a footnote.

    Args:
        examination: what was measured.
        width: of the terminal; columns. Names are shortened from the left, then the families left out, to fit.
    """
    footnotes: dict[str, int] = {}
    rows = [cells(matrix, examination, footnotes) for matrix in examination.matrices]
    lines = aligned(header(examination), rows, width, words=("matrix", "family"), spare="family")
    return "\n".join([*lines, *footnote_lines(footnotes)])


def aligned(
    titles: Sequence[str], rows: Sequence[Sequence[str]], width: int, words: tuple[str, ...], spare: str
) -> list[str]:
    """Lines of a table under a rule, numbers to the right.

    Args:
        titles: of the columns; the first one holds names, which are shortened to fit.
        rows: cells.
        width: that the lines should keep to; columns.
        words: titles of the columns that go to the left.
        spare: title of the column that is left out first where the table is too wide.

    >>> print(*aligned(("matrix", "alpha"), [("encoder.0.query", "3.5")], 80, ("matrix",), "matrix"), sep="\\n")
    matrix           alpha
    ----------------------
    encoder.0.query    3.5
    """
    columns = [list(column) for column in zip(titles, *rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    room = width - sum(widths[1:]) - 2 * (len(widths) - 1)
    places = list(range(len(columns)))
    if room < min(NAME_WIDTH, widths[0]):
        places.remove(titles.index(spare))
        room += widths[titles.index(spare)] + 2
    widths[0] = max(min(widths[0], room), min(NAME_WIDTH, widths[0]))
    columns[0] = [_shortened(name, widths[0]) for name in columns[0]]
    lines = [
        "  ".join(
            columns[c][row].ljust(widths[c]) if titles[c] in words else columns[c][row].rjust(widths[c]) for c in places
        ).rstrip()
        for row in range(len(rows) + 1)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return lines


def footnote_lines(footnotes: Mapping[str, int]) -> list[str]:
    """A line for each reason, with the number that stands for it in the cells.

    >>> footnote_lines({"zero matrix": 1})
    ['–1: zero matrix']
    """
    return [f"–{number}: {reason}" for reason, number in footnotes.items()]


def _shortened(name: str, width: int) -> str:
    """Components give up all but their first letters, from the left, so that layers stay apart by their numbers."""
    components = name.split(".")
    for i, component in enumerate(components[:-1]):
        if len(".".join(components)) <= width:
            break
        components[i] = component if component.isdecimal() else component[:1]
    short = ".".join(components)
    return short if len(short) <= width else "…" + short[len(short) - width + 1 :].removeprefix(".")


def cells(matrix: MeasuredMatrix, examination: Examination, footnotes: dict[str, int]) -> tuple[str, ...]:
    """One line; new reasons are added to the footnotes.

    >>> footnotes = {}
    >>> cells(examination.matrices[-1], examination, footnotes)[:5]
    ('readout', '12×16', 'readout', '4.24', '2.04')
    """
    bounds = matrix.bounds(examination.estimators)

    def missing(reason: str) -> str:
        return f"–{footnotes.setdefault(reason, len(footnotes) + 1)}"

    def cell(metric: str, digits: str) -> str:
        if metric in bounds:
            return bounds[metric].replace(" ", "")
        return f"{matrix.values[metric]:{digits}}" if not matrix.reasons[metric] else missing(matrix.reasons[metric])

    null, tail = matrix.nulls["ks_alpha"], matrix.tail
    compared = [
        f"{value:{digits}}" if np.isfinite(value) else missing(str(null.reason))
        for value, digits in ((null.null_mean, ".2f"), (null.null_sd, ".2f"), (null.difference, "+.2f"))
        if examination.has_null
    ]
    return (
        matrix.matrix.name,
        "×".join(map(str, matrix.matrix.shape)),
        matrix.matrix.family.label,
        cell("stable_rank", ".2f"),
        cell("spectral_entropy", ".2f"),
        cell("ks_alpha", ".2f"),
        cell("ks_alpha_se", ".2f"),
        cell("ks_distance", ".3f"),
        cell("ks_tail", ".0f"),
        *compared,
        cell("mp_spikes", ".0f"),
        *(2 * [missing(reason)] if (reason := str(tail.reason)) else [tail_words(tail), f"{tail.p_value:.3f}"]),
    )


def tail_words(tail: SpikeOrTail) -> str:
    """The verdict on one matrix's tail, in words.

    >>> from transformer_spectrum.spectra.spike_or_tail import spike_or_tail
    >>> generator = np.random.default_rng(0)
    >>> tail_words(spike_or_tail(np.linalg.svd(generator.normal(size=(32, 32)), compute_uv=False), (32, 32)))
    'noise'
    """
    return str(tail.verdict).replace("_", " ")


def text_report(examination: Examination, width: int) -> str:
    """The table, and below it what was measured, what was not, and why.

    >>> print(*text_report(examination, 80).splitlines()[:3], sep="\\n")
    matrix                    shape  stable  entropy  alpha  ± se      D  tail  spikes  verdict   p
    -----------------------------------------------------------------------------------------------
    d.0.feed_forward.down     16×32    5.57     2.46   2.97  0.70  0.194    ≤8       0       –1  –1
    """
    return "\n".join([_text_table(examination, width), below(examination, meanings(examination), width)])


def below(examination: Examination, words: str, width: int) -> str:
    """What stands under a table: the meaning of its columns, the care to take, what was measured and what was not.

    >>> print(*below(examination, "The columns.", 60).splitlines()[1:3], sep="\\n")
    The columns.
    Alpha is a fit, not proof of a power law, and stands here
    """
    lines = ["", words, warning(examination), "", *facts(examination)]
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False) for line in lines)


def facts(examination: Examination) -> list[str]:
    """What was measured, what was not and why, one sentence each.

    >>> facts(examination)[1]
    'null: none was drawn, --shuffles 0.'
    """
    few, most = examination.draws
    null = f"{few if few == most else f'{few} to {most}'} shuffles of each matrix, seed {examination.settings['seed']}."
    count = len(examination.matrices)
    lines = [
        f"{examination.name}: {count} {'matrix' if count == 1 else 'matrices'} of {examination.used} of "
        f"{_tensors(examination.tensors)}, "
        f"{_millions(examination.measured_weights)} of {_millions(examination.weights)} weights; "
        f"tensors of fewer than two axes, which have no "
        f"spectrum: {examination.vectors}.",
        f"null: {null if most else 'none was drawn, --shuffles 0.'}",
    ]
    lines += [
        f"{matrix.matrix.name} stands for {', '.join(matrix.same)} too: the same entries."
        for matrix in examination.matrices
        if matrix.same
    ]
    by_reason: dict[str, list[Skipped]] = {}
    for skipped in examination.skipped:
        by_reason.setdefault(skipped.reason, []).append(skipped)
    for reason, group in by_reason.items():
        more = f" and {len(group) - 3} more" if len(group) > 3 else ""
        weights = sum(skipped.weights or 0 for skipped in group)
        size = f"{_millions(weights)} weights in {_tensors(len(group))}, " if weights else ""
        lines.append(f"left out: {size}{', '.join(skipped.name for skipped in group[:3])}{more}: {reason}.")
    return [*lines, *(f"note: {note}." for note in examination.notes)]


def _tensors(count: int) -> str:
    return f"{count} {'tensor' if count == 1 else 'tensors'}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else str(count)
