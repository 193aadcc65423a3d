"""What is said of the last steps, said again where something else is equal: from the histories themselves."""

import numpy as np
import pytest

from transformer_spectrum.analysis.comparison.equal_axes import Record
from transformer_spectrum.report.run_page import axes as page_axes
from transformer_spectrum.report.run_page.axes import records, sentence, table
from transformer_spectrum.report.run_page.markdown import markdown
from transformer_spectrum.report.run_page.page import page

FAST = [Record(0, 1, 0.0, 3.0, 0.0), Record(1, 10, 2.0, 0.9, -0.1), Record(2, 20, 4.0, 0.5, -5.0)]
SLOW = [Record(0, 1, 0.0, 3.0, 0.0), Record(1, 4, 3.0, 2.0, -1.0), Record(5, 16, 9.0, 1.0, -2.0)]


def test_the_sentence_names_who_moved_furthest_where(monkeypatch, run):
    monkeypatch.setattr(page_axes, "records", lambda run: {"adam": FAST, "es": SLOW})
    assert sentence(run) == (
        "The stable rank of the feed-forward matrices moved furthest under Adam at equal steps, evaluations and "
        "distance and under ES at equal validation loss. At a validation loss of 1.000, which all reach, the change "
        "was −0.10 under Adam and −2.00 under ES."
    )
    rows = {row[0]: row[1:] for row in table(run).rows}
    assert rows["validation loss: 1.000"] == ("−0.10 (at 0.900)", "−2.00 (at 1.000)")
    assert rows["steps: 2"] == ("−5.00 (at 2)", "−1.00 (at 1)")


def test_records_are_those_of_the_histories(run, histories):
    for optimizer, history in histories.items():
        family = np.flatnonzero(history.families == "feed_forward")
        values = history.singular_values[:, family].astype(float)
        ranks = (np.nansum(values**2, -1) / np.nanmax(values, -1) ** 2).mean(1)
        for record in records(run)[optimizer]:
            position = int(np.flatnonzero(history.steps == record.step)[0])
            assert record.evaluations == history.evaluations[position]
            assert record.validation_loss == pytest.approx(history.validation_loss[position])
            assert record.change == pytest.approx(ranks[position] - ranks[0], abs=1e-4)


def test_page_and_markdown_carry_both_and_neither_where_there_is_one_training(run, monkeypatch):
    assert "held equal" in page(run)
    assert "held equal" in markdown(run)
    assert "which all reach" in markdown(run)
    monkeypatch.setattr(page_axes, "records", lambda run: {"adam": FAST})
    assert table(run) is None
    assert "held equal" not in page(run)
    assert "which all reach" not in markdown(run)
