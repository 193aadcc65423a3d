"""The pictures: whole PNG files of the size meant, the same bytes for the same input, and words that must be there."""

import dataclasses
import functools
import struct
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from transformer_spectrum import vocabulary
from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.figures import caption
from transformer_spectrum.report.pictures import (
    esd,
    evolution,
    forecasts,
    heatmap,
    loss,
    overview,
    singular_values,
    style,
)

pytestmark = pytest.mark.slow
CAPTION = caption.Caption("covid", "new cases a day", "sgt", "p = 2, q = 5, λ = 0", "nats", 1, standin=False)


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories)


@pytest.fixture(scope="module")
def draw(summaries, forecast):
    """Name -> a new figure, drawn with the caption given."""
    makers = {
        "evolution": lambda caption: evolution.draw(summaries, caption),
        "by budget": lambda caption: evolution.draw(
            summaries, caption, across="evaluations", metrics=vocabulary.AXIS_METRICS
        ),
        "by mae": lambda caption: evolution.draw(
            summaries, caption, across="validation_mae", metrics=vocabulary.AXIS_METRICS
        ),
        "heatmap": lambda caption: heatmap.draw(summaries, caption),
        "singular values": lambda caption: singular_values.draw(summaries, caption),
        "esd": lambda caption: esd.draw(summaries, caption),
        "loss": lambda caption: loss.draw(summaries, caption),
        "forecasts": lambda caption: forecasts.draw(forecast, caption),
        "overview": lambda caption: overview.draw(summaries, caption),
    }
    return lambda name, caption=CAPTION: makers[name](caption)


@pytest.fixture(scope="module")
def drawn(draw):
    """Name -> the figure with CAPTION, drawn once for all tests, which must not change it."""
    return functools.cache(draw)


ALL = ("evolution", "by budget", "by mae", "heatmap", "singular values", "esd", "loss", "forecasts", "overview")


def words(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize("name", ALL)
def test_a_figure_becomes_a_small_png_of_its_size(drawn, name, tmp_path):
    figure = drawn(name)
    style.save(figure, tmp_path / "plots" / "figure.png")
    raw = (tmp_path / "plots" / "figure.png").read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", raw[16:24])
    assert (width, height) == pytest.approx(tuple(figure.get_size_inches() * style.STYLE["savefig.dpi"]), abs=1)
    assert width >= 900
    assert 10_000 < len(raw) < 220_000
    with Image.open(tmp_path / "plots" / "figure.png") as image:
        image.load()
        assert len(image.getcolors(256) or []) > 20
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["figure.png"]


@pytest.mark.parametrize("name", ["loss", "overview"])
def test_the_same_input_gives_the_same_bytes_whatever_matplotlibrc_says(draw, name, tmp_path):
    style.save(draw(name), tmp_path / "one.png")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "pink", "savefig.dpi": 50}):
        style.save(draw(name), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_every_caption_names_the_run(drawn, name):
    assert CAPTION.line() in words(drawn(name))


@pytest.mark.parametrize("name", ALL)
def test_a_stand_in_is_said_twice_in_red_and_real_data_never_are(draw, drawn, name):
    figure = draw(name, dataclasses.replace(CAPTION, standin=True))
    loud = [text for text in figure.findobj(matplotlib.text.Text) if vocabulary.STANDIN in text.get_text()]
    assert len(loud) == 2
    assert all(text.get_color() == style.WARNING_COLOUR for text in loud)
    assert not any(vocabulary.STANDIN in text for text in words(drawn(name)))


def panels_of(figure, summaries):
    """(metric, family) -> its panel in the figure of the evolution."""
    names = [(metric, family) for metric in vocabulary.EVOLUTION_METRICS for family in summaries["adam"].families]
    return dict(zip(names, figure.axes, strict=True))


def test_ks_alpha_stands_beside_its_start_and_its_tail(drawn, summaries):
    figure = drawn("evolution")
    assert evolution.ALPHA_NOTE in words(figure)
    panel = next(axes for axes in figure.axes if axes.get_ylabel().startswith("KS alpha"))
    start = summaries["adam"].mean("ks_alpha", "encoder_self_attention")[0]
    assert any(np.allclose(line.get_ydata(), start) and line.is_dashed() for line in panel.lines)
    tail, distance = (summaries["es"].mean(name, "encoder_self_attention")[-1] for name in ("ks_tail", "ks_distance"))
    assert f"D {distance:.2f}, n {tail:.0f}" in [text.get_text() for text in panel.texts]


def test_each_optimizer_keeps_its_colour_everywhere(drawn):
    for name in ("evolution", "loss", "forecasts", "overview"):
        colours = {line.get_color() for line in drawn(name).findobj(matplotlib.lines.Line2D)}
        assert set(vocabulary.COLOURS.values()) <= colours, name


def test_curves_hold_the_numbers(drawn, summaries):
    adam = summaries["adam"]
    panel = panels_of(drawn("evolution"), summaries)["change_stable_rank", "encoder_self_attention"]
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), adam.mean("change_stable_rank", "encoder_self_attention"))
    (losses, budget), (errors, _) = drawn("loss").axes[:2], drawn("loss").axes[2:]
    np.testing.assert_array_equal(losses.lines[1].get_ydata(), adam.history.validation_loss)
    np.testing.assert_array_equal(errors.lines[0].get_ydata(), adam.history.validation_mae)
    assert budget.get_xscale() == "log"
    assert np.isnan(budget.lines[1].get_xdata()[0])  # no evaluations yet


def test_training_runs_rightwards_over_validation_mae(drawn, summaries):
    for name in ("by mae", "overview"):
        panel = drawn(name).axes[0 if name == "by mae" else 1]
        assert panel.xaxis_inverted()
        curves = [line.get_xdata() for line in panel.lines if len(line.get_xdata()) > 5]
        assert any(len(curve) and set(curve) <= set(summaries["adam"].history.validation_mae) for curve in curves)


def test_every_optimizer_has_the_band_of_its_null_at_the_tracked_steps_in_its_colour(drawn, summaries):
    panels = panels_of(drawn("evolution"), summaries)
    for key in (("stable_rank", "feed_forward"), ("change_stable_rank", "feed_forward")):
        for optimizer, band in zip(summaries, panels[key].collections, strict=True):
            low, high = summaries[optimizer].band(*key)
            ends = np.isfinite(low)
            assert ends.sum() >= len(summaries[optimizer].tracked) - 1
            corners = {tuple(corner) for path in band.get_paths() for corner in path.vertices}
            steps = summaries[optimizer].history.steps[ends]
            assert {*zip(steps, low[ends], strict=True), *zip(steps, high[ends], strict=True)} <= corners
            assert matplotlib.colors.to_hex(band.get_facecolor()[0]) == vocabulary.COLOURS[optimizer].lower()


def test_initial_weights_are_dashed_where_the_weights_are_measured_and_nowhere_else(drawn, summaries):
    for (metric, _), panel in panels_of(drawn("evolution"), summaries).items():
        assert any(line.is_dashed() for line in panel.lines) == (not metric.startswith("change_")), metric


def test_the_singular_values_of_the_change_stand_beside_those_of_its_shuffled_entries(drawn, summaries):
    panel, ratios = drawn("overview").axes[2], drawn("singular values").axes
    for i, (optimizer, summary) in enumerate(summaries.items()):
        best = overview.best_of(summary)
        values, shuffled = summary.mean_change_spectra("feed_forward", summary.tracked.index(best))
        own, null = panel.lines[2 * i : 2 * i + 2]
        np.testing.assert_array_equal(own.get_ydata(), values[values >= values[0] / 100])
        np.testing.assert_array_equal(null.get_ydata(), shuffled)
        assert {own.get_color(), null.get_color()} == {vocabulary.COLOURS[optimizer]}
        families = summary.spectral_families
        lowest = ratios[(3 + i) * len(families) + families.index("feed_forward")].lines[-2].get_ydata()
        values, shuffled = summary.mean_change_spectra("feed_forward", -1)
        shown = values >= values[0] / 100
        np.testing.assert_allclose(lowest[shown], (values / shuffled)[shown])
        assert np.isnan(lowest[~shown]).all()


def test_units_stand_on_the_axes(drawn):
    labels = {axes.get_ylabel() for axes in drawn("evolution").axes}
    assert "spectral entropy\n(nats)" in labels
    assert "stable rank\nof the change\n(count)" in labels
    assert "Hill alpha\n(k = 25 % of rank)" in labels
    assert "alpha exponent\n(ranks 0–50 %)" in labels
    assert "new cases a day" in {axes.get_ylabel() for axes in drawn("forecasts").axes}
    assert drawn("loss").axes[0].get_ylabel().endswith("(nats)")


def test_a_family_of_rank_one_shows_why_it_is_empty(histories, summarized):
    history = histories["adam"]
    shapes, values = history.shapes.copy(), history.singular_values.copy()
    changes, embedding = history.change_singular_values.copy(), history.families == "embedding"
    shapes[embedding], values[:, embedding, 1:], changes[:, embedding, 1:] = (16, 1), np.nan, np.nan
    narrow = dataclasses.replace(history, shapes=shapes, singular_values=values, change_singular_values=changes)
    lone = summarized({"adam": narrow})
    shown = words(evolution.draw(lone, CAPTION))
    # alpha exponent, spikes, those of the change, Hill, KS
    assert shown.count("not computed:\nonly one singular value") == 5
    assert not any("embedding" in text for text in words(esd.draw(lone, CAPTION)))


def test_the_caption_is_made_of_the_parameters(pytestconfig):
    params = load_params(pytestconfig.rootpath / "params.yaml")
    chosen = params.loss.model_copy(update={"type": "sgt", "p": 2.0, "q": 3.0, "lam": 0.1})
    data = params.data.model_copy(update={"dataset": "covid"})
    made = caption.caption_of(params.model_copy(update={"loss": chosen, "data": data, "seed": 7}), standin=True)
    assert made.line() == "data: covid   ·   loss: sgt (p = 2, q = 3, λ = 0.1)   ·   seed: 7   ·   es: openai"
    assert made.loss_unit == "nats"
    assert made.data_unit.startswith("new cases a day")
    assert made.standin
    plain = params.model_copy(update={"loss": chosen.model_copy(update={"type": "mae"})})
    assert caption.caption_of(plain, standin=False).loss == "mae"


def test_figures_need_no_pyplot():
    imported = "import sys, transformer_spectrum.report.pictures.outputs as _"
    code = f"{imported}; print({{'matplotlib.pyplot'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "src"})
    assert done.stdout.strip() == "set()", done.stderr
