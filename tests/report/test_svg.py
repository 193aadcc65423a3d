"""Axes and marks of the small plots: where values land, which ticks they get, what is left out."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.report.page.svg import INNER_HEIGHT, INNER_WIDTH, Axis, Panel


def path_of(panel):
    return [tuple(map(float, point.split(","))) for point in re.findall(r"[ML]([-\d.]+,[-\d.]+)", panel.marks[-1])]


def test_the_ends_of_the_axes_are_the_corners_of_the_frame():
    panel = Panel("", Axis(1.0, 100.0, log=True), Axis(-1.0, 3.0))
    panel.line(np.array([1.0, 10.0, 100.0]), np.array([-1.0, 1.0, 3.0]), "own")
    middle = (INNER_WIDTH / 2, INNER_HEIGHT / 2)
    np.testing.assert_allclose(path_of(panel), [(0, INNER_HEIGHT), middle, (INNER_WIDTH, 0)])


def test_a_line_is_broken_where_a_value_is_missing_and_a_log_axis_has_no_zero():
    panel = Panel("", Axis(0.0, 4.0), Axis(1.0, 10.0, log=True))
    panel.line(np.arange(5.0), np.array([1.0, 2.0, np.nan, 0.0, 5.0]), "own")
    assert panel.marks[-1].count("M") == 2
    assert len(path_of(panel)) == 3


@pytest.mark.parametrize("values", [[], [np.nan], [0.0], [5.0, 5.0], [-1.0, 1e30], [1e-300, 1e-299]])
@pytest.mark.parametrize("log", [False, True])
def test_every_range_of_values_has_an_axis(values, log):
    axis = Axis.around(np.array(values), log=log)
    assert axis.low < axis.high
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_ticks_are_round_few_and_inside(low, width, whole):
    axis = Axis(low, low + width + 1e-9 * abs(low), whole=whole)
    ticks = axis.ticks()
    assert len(ticks) <= 7
    rounding = 1e-9 * max(abs(low), width)  # nothing that can be seen: 0 as a tick of an axis from 5e-324 on
    assert all(axis.low - rounding <= tick <= axis.high + rounding for tick in ticks)
    assert not whole or all(tick == round(tick) for tick in ticks)


def test_ticks_of_a_log_axis_are_decades_or_their_halves():
    assert Axis(0.5, 2e4, log=True).ticks() == [1, 10, 100, 1000, 10000]
    assert Axis(1.0, 30.0, log=True).ticks() == [1, 2, 5, 10, 20]
    assert Axis(2.0, 3.0, log=True).ticks() == pytest.approx([2, 2.2, 2.4, 2.6, 2.8, 3])
    assert len(Axis(1e-20, 1e20, log=True).ticks()) <= 7


def test_words_are_escaped():
    panel = Panel("<a>", Axis(0.0, 1.0), Axis(0.0, 1.0))
    panel.points(np.array([0.5]), np.array([0.5]), "dot", "circle", ["<b>&"])
    drawing = panel.svg('"quoted" <c>')
    assert "<title>&lt;b&gt;&amp;</title>" in drawing
    assert not re.search("<[abc]>", drawing)
