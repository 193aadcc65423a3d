"""The report's page as readers meet it: in a browser, on three widths, light and dark, by keyboard, on paper."""

import csv
import dataclasses
import itertools
import re

import pytest

from transformer_spectrum.report.figures import evolution
from transformer_spectrum.report.run_page.page import page as html

READY = "document.documentElement.dataset.figures === 'drawn'"
FIGURES = ("moved", "loss", "evolution", "esd", "singular-values", "layers", "forecasts")
WIDTHS = (390, 820, 1400)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(html(run))
    return path


@pytest.fixture(scope="module")
def opened(browser, file):
    with browser.open(file, width=1400, ready=READY) as page:
        yield page


@pytest.fixture
def page(opened):
    """The open page as it is at first."""
    opened.driver.emulate_media(media="screen", color_scheme="light")
    opened.driver.evaluate("localStorage.clear()")
    opened.driver.set_viewport_size({"width": 1400, "height": 900})
    opened.driver.reload()
    opened.driver.wait_for_function(READY)
    return opened


def background(page):
    return page.driver.evaluate("getComputedStyle(document.body).backgroundColor")


def ink(page, selector):
    """The colour that a part of a figure is painted with, whatever variable says so."""
    return page.driver.evaluate(f"getComputedStyle(document.querySelector({selector!r})).fill")


def resize(page, width):
    page.driver.set_viewport_size({"width": width, "height": 900})
    page.driver.wait_for_timeout(300)  # page.js waits until the width rests
    page.driver.wait_for_function(READY)


def test_every_figure_is_drawn_without_an_error_a_warning_or_a_request(page, run):
    figures = {figure.id.removesuffix("-figure"): figure for figure in page.figures(".figure")}
    assert tuple(figures) == FIGURES
    lines, dots = 2 * 3 * 2 + 2 * 3, 4 * 3  # training, validation, MAE
    points = sum(len(run.curves[name]) + (run.curves[name]["evaluations"] > 0).sum() for name in ("loss", "validation"))
    assert figures["loss"].marks == lines + dots + points  # a log axis has no place for 0
    assert figures["layers"].marks == (run.curves["heatmap"]["metric"] == "stable_rank").sum()
    windows = set(run.curves["forecasts"]["window"])
    assert figures["forecasts"].marks > len(windows) * 6
    dots = [shift for shift in run.shifts if shift.metric == "change_stable_rank" and shift.deviations is not None]
    assert figures["moved"].marks == 2 + 2 * len(dots)  # band, zero; a line and a dot each
    for name in ("evolution", "esd", "singular-values"):
        assert figures[name].marks > 20
    for family in ("encoder self-attention", "feed-forward", "readout"):
        for name in ("moved", "evolution", "esd", "singular-values"):
            assert family in figures[name].texts
    assert {"loss (nats)", "validation MAE (scaled units)"} <= set(figures["loss"].texts)
    assert page.errors == []
    assert page.warnings == []
    assert page.requests == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nobody_scrolls_sideways(page, width):
    resize(page, width)
    assert page.overflow() == 0
    for figure in page.figures(".figure"):
        assert figure.marks > 0
        assert figure.width <= width
        assert figure.height > 150
    assert page.driver.evaluate(
        "[...document.querySelectorAll('.figure')].every(one => one.scrollWidth <= one.clientWidth + 1)"
    )
    assert page.errors == []


def test_a_phone_gets_one_panel_beside_another_only_where_both_fit(page):
    def columns():
        return page.driver.evaluate(
            "new Set([...document.querySelectorAll('#evolution-figure .role-frame, #evolution-figure .background')]"
            ".map(one => Math.round(one.getBoundingClientRect().left)).filter(left => left > 0)).size"
        )

    wide = columns()
    resize(page, 390)
    assert wide > columns()


def test_the_theme_follows_the_system_until_the_reader_switches_and_figures_follow_at_once(page):
    label = "#loss-figure svg .role-axis-label text"
    light = background(page), ink(page, label)
    page.driver.emulate_media(color_scheme="dark")
    dark = background(page), ink(page, label)
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    button = page.driver.get_by_role("button", name="Switch to light colours")
    button.click()
    assert (background(page), ink(page, label)) == light
    page.driver.reload()
    page.driver.wait_for_function(READY)
    assert background(page) == light[0]  # it remembers
    page.driver.get_by_role("button", name="Switch to dark colours").click()
    page.driver.emulate_media(color_scheme="light")
    assert background(page) == dark[0]


@pytest.mark.parametrize("dark", [False, True])
def test_words_and_lines_stand_out_from_the_paper(page, dark):
    page.driver.emulate_media(color_scheme="dark" if dark else "light")

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(name):
        page.driver.evaluate(f"document.body.style.outlineColor = 'var(--{name})'")
        pair = [
            luminance(page.driver.evaluate("getComputedStyle(document.body).outlineColor")),
            luminance(background(page)),
        ]
        return (max(pair) + 0.05) / (min(pair) + 0.05)

    for name in ("ink", "quiet", "link", "warning"):  # WCAG 2.2, 1.4.3
        assert contrast(name) >= 4.5 or (name == "warning" and contrast(name) >= 3)
    for name in ("adam", "es", "ga", "null", "truth", "context"):  # 1.4.11
        assert contrast(name) >= 3


def test_an_optimizer_is_muted_in_all_figures_by_one_press(page):
    def faint(name):
        return page.driver.evaluate(
            f"document.querySelectorAll('#{name}-figure svg g.role-mark [opacity=\"0.06\"]').length"
        )

    assert faint("loss") == faint("forecasts") == 0
    key = page.driver.locator("#loss button.key", has_text="ES")
    key.focus()
    page.driver.keyboard.press("Enter")
    page.driver.wait_for_function("document.querySelectorAll('#forecasts-figure [opacity=\"0.06\"]').length > 0")
    assert key.get_attribute("aria-pressed") == "false"
    assert page.driver.locator("#esd button.key", has_text="ES").get_attribute("aria-pressed") == "false"
    assert page.driver.locator("#loss button.key", has_text="GA").get_attribute("aria-pressed") == "true"
    for name in ("moved", "loss", "evolution", "esd", "singular-values", "forecasts"):
        assert faint(name) > 0
    key.press("Space")
    page.driver.wait_for_function("document.querySelectorAll('#forecasts-figure [opacity=\"0.06\"]').length === 0")


def test_the_metric_and_the_axis_can_be_chosen_and_outlive_a_new_width(page):
    def texts():
        return next(one.texts for one in page.figures(".figure") if one.id == "evolution-figure")

    assert {"stable rank of the change (count)", "step (symmetric log)"} <= set(texts())
    page.driver.get_by_role("combobox", name="metric").nth(1).select_option("spectral_norm")
    page.driver.get_by_role("combobox", name="across").select_option("evaluations")
    page.driver.wait_for_timeout(200)
    assert {"spectral norm (weight units)", "evaluations (symmetric log)"} <= set(texts())
    assert "stable rank of the change (count)" not in texts()
    resize(page, 820)
    assert {"spectral norm (weight units)", "evaluations (symmetric log)"} <= set(texts())
    assert page.errors == []


def test_training_runs_rightwards_on_every_axis_beside_the_null_of_every_optimizer(page, run):
    ends = (
        "[...document.querySelectorAll('#evolution-figure g.mark-line.role-mark > path')].map(path => path.__data__)"
        ".map(group => (group.items ?? [group]).filter(item => item.datum))"
        ".map(items => items.map(item => [item.datum.step, item.datum.x, item.x]))"
    )
    areas = "[...document.querySelectorAll('#evolution-figure g.mark-area.role-mark > path')]"
    across = page.driver.locator("#evolution").get_by_role("combobox", name="across")
    assert across.locator("option").all_inner_texts() == [axis.name for axis in evolution.ACROSS.values()]
    for name, axis in evolution.ACROSS.items():
        across.select_option(name)
        page.driver.wait_for_timeout(300)
        texts = next(figure.texts for figure in page.figures(".figure") if figure.id == "evolution-figure")
        assert any(text.startswith(axis.label) for text in texts)
        widths = page.driver.evaluate(f"{areas}.map(path => path.getBBox().width)")
        assert len(widths) == len(run.trainings) * len(run.families)
        assert min(widths) > 0
        curves = page.driver.evaluate(ends)
        assert len(curves) == len(widths)
        for curve in curves:
            steps, values, places = zip(*curve, strict=True)
            assert list(steps) == sorted(steps)  # in the order of training, also where MAE rises again
            rising = sorted(zip(values, places, strict=True), reverse=axis.falling)
            assert [place for _, place in rising] == sorted(places)
    assert (page.errors, page.warnings) == ([], [])


def test_a_rule_at_the_initial_weights_is_seen_where_the_weights_are_measured(page, run):
    rules = "[...document.querySelectorAll('#evolution-figure g.mark-rule.role-mark > *')]"
    seen = f"{rules}.filter(rule => (rule.getAttribute('opacity') ?? '1') !== '0').length"
    assert page.driver.evaluate(seen) == 0
    page.driver.locator("#evolution").get_by_role("combobox", name="metric").select_option("stable_rank")
    page.driver.wait_for_timeout(300)
    assert page.driver.evaluate(seen) == len(run.families)


def test_singular_values_are_of_the_change_beside_its_shuffled_entries_until_the_reader_chooses(page):
    def texts():
        return next(figure.texts for figure in page.figures(".figure") if figure.id == "singular-values-figure")

    choices = page.driver.locator("#singular-values select")
    assert "singular value over the shuffled one (log)" in texts()
    choices.nth(1).select_option("weights")
    page.driver.wait_for_timeout(300)
    assert "singular value over the initial one (log)" in texts()
    choices.nth(2).select_option("value")
    page.driver.wait_for_timeout(300)
    assert "singular value (weight units) (log)" in texts()
    assert (page.errors, page.warnings) == ([], [])


def test_a_point_says_its_values(page):
    page.driver.locator("#moved").scroll_into_view_if_needed()
    page.driver.locator("#moved-figure svg g.mark-symbol path").first.hover(force=True)
    tooltip = page.driver.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    words = tooltip.inner_text()
    for name in ("optimizer", "family", "value", "null", "effect", "deviations"):
        assert name in words


def test_the_keyboard_reaches_everything_in_reading_order(page):
    page.driver.keyboard.press("Tab")
    first = page.driver.locator(":focus")
    assert first.inner_text() == "Skip to the answer"
    assert first.bounding_box()["x"] >= 0  # it shows itself
    assert page.driver.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    places, names = [], []
    for _ in range(60):
        page.driver.keyboard.press("Tab")
        about = page.driver.evaluate(
            "(one => [one.getBoundingClientRect().top + scrollY, one.tagName, one.textContent.slice(0, 20)])"
            "(document.activeElement)"
        )
        if about[1] == "BODY":
            break
        places.append(about[0])
        names.append(about[1])
    assert names[0] == "BUTTON"  # the theme
    assert {"A", "BUTTON", "SELECT", "SUMMARY"} <= set(names)
    assert all(later > earlier - 40 for earlier, later in itertools.pairwise(places))  # a row is 40 high


def test_the_skip_link_and_the_contents_lead_where_they_say(page):
    page.driver.keyboard.press("Tab")
    page.driver.keyboard.press("Enter")
    assert page.driver.url.endswith("#answer")
    for link in page.driver.get_by_role("navigation").get_by_role("link").all():
        link.click()
        name = link.get_attribute("href").removeprefix("#")
        top = page.driver.evaluate(f"document.getElementById({name!r}).getBoundingClientRect().top")
        bottom = page.driver.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert abs(top) < 5 or bottom


def test_the_data_of_a_figure_can_be_saved(page, run, tmp_path):
    with page.driver.expect_download() as started:
        page.driver.locator("#layers button.save").click()
    started.value.save_as(tmp_path / "layers.csv")
    with (tmp_path / "layers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(run.curves["heatmap"])
    assert float(rows[-1]["value"]) == pytest.approx(run.curves["heatmap"]["value"].iloc[-1], rel=1e-4)
    assert started.value.suggested_filename == "layers.csv"


def test_on_paper_it_is_light_complete_and_without_buttons(page):
    page.driver.emulate_media(color_scheme="dark", media="print")
    assert background(page) == "rgb(255, 255, 255)"
    assert not page.driver.get_by_role("navigation").is_visible()
    assert not page.driver.locator("#theme").is_visible()
    assert not page.driver.locator("select").first.is_visible()
    assert page.driver.locator("h1").is_visible()
    assert page.driver.locator("#parameters table").first.is_visible()
    assert len(page.driver.pdf()) > 10_000


def test_the_numbers_of_a_figure_open_below_it(page):
    page.driver.locator("#esd summary").click()
    assert page.driver.locator("#esd details table").is_visible()


def test_a_stand_in_is_loud_and_other_data_are_not(browser, page, run, tmp_path):
    assert page.driver.locator(".banner").count() == 0
    provenance = {**run.provenance, "standin": True, "notes": ["Simulated stand-in, not data."]}
    caption = dataclasses.replace(run.caption, standin=True)
    (tmp_path / "index.html").write_text(html(dataclasses.replace(run, provenance=provenance, caption=caption)))
    page.driver.goto((tmp_path / "index.html").as_uri())
    page.driver.wait_for_function(READY)
    banner = page.driver.locator(".banner")
    assert "STAND-IN DATA" in banner.inner_text()
    box = banner.bounding_box()
    assert box["y"] + box["height"] < 400  # seen without scrolling
    assert box["width"] > 800
    assert (
        page.driver.evaluate("getComputedStyle(document.querySelector('.banner')).backgroundColor") == "rgb(192, 0, 0)"
    )


def test_without_a_script_the_answer_and_the_numbers_are_there(page, file):
    with page.driver.context.browser.new_context(java_script_enabled=False) as context:
        driver = context.new_page()
        driver.goto(file.as_uri())
        assert driver.get_by_text("The figures need JavaScript").is_visible()
        assert driver.locator("#answer table").first.is_visible()
        assert not driver.locator("#theme").is_visible()
    assert page.driver.locator("#no-script").count() == 0
