"""`dvc plots` as users run it, in a fresh clone with two revisions: every plot is drawn, offline, in HTML and PNG."""

import json
import re
import shutil

import pytest
import yaml
from clones import Clone
from PIL import Image

from transformer_spectrum.report.dvc_plots.pictures import write_pngs
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.tracking.recorder import Recorder
from transformer_spectrum.vocabulary import NAMES, REVISION_SHADES, SHADES

pytestmark = pytest.mark.slow

DRAWN = "document.documentElement.dataset.drawn"
OPTIMIZERS, REVISIONS = {SHADES[name].light for name in NAMES}, {shade.light for shade in REVISION_SHADES[:2]}


@pytest.fixture(scope="module")
def fresh(copy_of_finished, tmp_path_factory) -> Clone:
    """A clone by git alone, without DVC's cache, of a repository in which Adam was trained again at another rate."""
    origin = copy_of_finished("plots")
    origin.set(adam__learning_rate=0.02)
    again = re.findall(r"Running stage '([\w-]+)'", origin.run("dvc", "repro"))
    assert again == ["train-adam", "spectra", "report"]  # and not what neither reads the rate nor what came of it
    origin.run("git", "commit", "--quiet", "--all", "--message=faster")
    root = tmp_path_factory.mktemp("fresh") / "repository"
    origin.run("git", "clone", "--quiet", str(origin.root), str(root))
    return Clone(root, origin.environment, origin.nursery)


@pytest.fixture(scope="module")
def names(fresh) -> list[str]:
    """The plots of dvc.yaml that are drawn by a template of ours."""
    plots = yaml.safe_load((fresh.root / "dvc.yaml").read_text())["plots"]
    return [name for plot in plots if isinstance(plot, dict) for name in plot]


def identifier(name: str) -> str:
    return name.replace(" ", "_")


def test_a_diff_draws_every_plot_offline_and_colours_mean_revisions(fresh, names, browser):
    fresh.run("dvc", "plots", "diff", "HEAD~1", "HEAD")
    with browser.open(fresh.root / "dvc_plots/index.html", ready=DRAWN) as page:
        assert (page.requests, page.errors, page.warnings) == ([], [], [])
        figures = {figure.id: figure for figure in page.figures(".plot")}
        assert set(figures) == set(map(identifier, names))
        listed = page.driver.locator("#parameters tbody tr").all_inner_texts()
        assert [line.split() for line in listed] == [["adam.learning_rate", "null", "0.02"]]
        figures.pop("parameters")
        for name, figure in figures.items():
            assert figure.marks > 0, name
            assert {"HEAD~1", "HEAD"} <= set(figure.texts), name
            if name != "spectra_by_layer":
                assert set(figure.strokes) >= REVISIONS, name
                assert not OPTIMIZERS & set(figure.strokes), name
        pictures = page.driver.locator(".picture img")
        assert pictures.count() == 2 * len(list((fresh.root / "plots").glob("*.png")))
        pictures.last.scroll_into_view_if_needed()
        page.driver.wait_for_function("[...document.images].at(-1).naturalWidth > 0")


def test_a_show_draws_every_plot_offline_and_colours_mean_optimizers(fresh, names, browser):
    fresh.run("dvc", "plots", "show")
    with browser.open(fresh.root / "dvc_plots/index.html", ready=DRAWN) as page:
        assert (page.requests, page.errors, page.warnings) == ([], [], [])
        figures = page.figures(".plot")
        assert [figure.id for figure in figures] == list(map(identifier, names))
        for figure in figures[1:]:  # behind the parameters
            assert figure.marks > 0
            if figure.id != "spectra_by_layer":
                assert set(figure.strokes) >= OPTIMIZERS, figure.id
                assert not REVISIONS & set(figure.strokes), figure.id


def test_every_plot_takes_at_most_ten_thousand_rows_in_a_diff_of_two(fresh):
    for path in (fresh.root / "plots").glob("*.csv"):
        assert 0 < 2 * (len(path.read_text().splitlines()) - 1) <= 10_000


@pytest.fixture
def training(fresh, monkeypatch):
    """A training by Adam that has come to step 3, after ones by ES and GA that are through; the folder is put back."""
    monkeypatch.chdir(fresh.root)
    with pytest.raises(InterruptedError), Recorder("metrics/adam") as recorder:
        for step in range(4):
            curves = ("validation_loss", "train_loss", "stable_rank", "spectral_entropy", "distance")
            recorder.step(step, dict.fromkeys(curves, 7.0 - step) | {"evaluations": step})
        yield
        raise InterruptedError


def points(entry: dict) -> dict[tuple[str, str], list[float]]:
    """(revision, optimizer) -> the validation losses that VS Code gets."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in entry["anchor_definitions"]["<DVC_METRIC_DATA>"]:
        if "validation_loss" in row:
            optimizer = row["filename::field"].split("/")[0]
            found.setdefault((row["rev"], optimizer), []).append(float(row["validation_loss"]))
    return found


def answer_of(clone: Clone, *arguments: str) -> dict:
    """The JSON that `dvc plots` prints; warnings stand behind it."""
    return json.JSONDecoder().raw_decode(clone.run("dvc", "plots", *arguments))[0]


def test_plots_follow_a_training_while_it_runs(fresh, training, tmp_path):
    shown = answer_of(fresh, "show", "--show-vega", "live losses")
    ends = [row for row in shown["data"]["values"] if "adam" in row["filename::field"] and row["step"] == "3"]
    assert {row["dvc_inferred_y_value"] for row in ends} == {"4.0"}
    as_vscode = ("diff", "HEAD", "workspace", "--json", "--split", "--out", str(tmp_path))
    answer = answer_of(fresh, *as_vscode, "--targets", "live losses")
    (entry,) = answer["data"]["live losses"]
    assert "errors" not in answer
    assert set(entry["revisions"]) == {"workspace", "HEAD"}
    losses = points(entry)
    assert losses["workspace", "adam"] == [7.0, 6.0, 5.0, 4.0]
    assert losses["workspace", "es"] == losses["HEAD", "es"]
    assert len(losses["HEAD", "adam"]) == 5  # updates 0 and 1, and three epochs of two


def test_where_nothing_has_run_plots_are_empty_and_no_error(new_clone, tmp_path):
    clone = new_clone("nothing")
    for folder in ("metrics", "plots"):
        shutil.rmtree(clone.root / folder)
    clone.run("dvc", "plots", "show")
    answer = answer_of(clone, "show", "--json", "--split", "--out", str(tmp_path))
    assert {error["rev"] for error in answer["errors"]} == {"workspace"}


def colours(path):
    with Image.open(path) as image:
        return {"#{:02X}{:02X}{:02X}".format(*colour) for _, colour in image.convert("RGB").getcolors(1 << 24)}


def test_a_diff_is_drawn_as_png_files_too(fresh, names, tmp_path):
    files, problems = write_pngs(tmp_path, ["HEAD~1", "HEAD"], repository=fresh.root)
    assert problems == []
    assert [path.stem for path in files] == [identifier(name).lower() for name in names]
    for path in files:
        if path.stem not in ("spectra_by_layer", "parameters"):
            assert colours(path) >= REVISIONS, path
    (alone,), _ = write_pngs(tmp_path / "show", ["workspace"], targets=["loss"], repository=fresh.root)
    assert colours(alone) >= OPTIMIZERS
    with Image.open(alone) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("revisions", "complaint"),
    [
        (["nowhere", "HEAD"], "dvc plots: unknown Git revision 'nowhere'"),
        (["HEAD"], r"revisions ['HEAD']: two or more, or the workspace alone"),
    ],
)
def test_revisions_that_cannot_be_compared_are_refused_in_one_line(fresh, revisions, complaint, tmp_path):
    with pytest.raises(InputError, match=re.escape(complaint)):
        write_pngs(tmp_path, revisions, repository=fresh.root)
    assert not list(tmp_path.iterdir())
