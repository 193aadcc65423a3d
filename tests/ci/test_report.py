"""The script behind the workflows, part by part."""

import subprocess
from pathlib import Path

import pytest

from transformer_spectrum.runtime.errors import InputError


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def origin(tmp_path) -> Path:
    """A repository with three commits on main and a branch of one more."""
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name in "abc":
        git(folder, "commit", "--quiet", "--allow-empty", f"--message={name}")
    git(folder, "checkout", "--quiet", "-b", "change")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=d")
    return folder


def test_overrides_are_taken_apart_without_a_shell(report):
    assert report.overrides("") == []
    assert report.overrides("loss.q=3 es.popsize=8") == ["loss.q=3", "es.popsize=8"]
    assert report.overrides("-S loss.q=3 -S es.popsize=8") == ["loss.q=3", "es.popsize=8"]
    assert report.overrides("'data.covid.countries=[Italy, Spain]'") == ["data.covid.countries=[Italy, Spain]"]
    assert report.overrides("loss.q=$HOME") == ["loss.q=$HOME"]


@pytest.mark.parametrize(
    "text",
    ["loss.q", "loss.qq=3", "+loss.new=3", "~loss.q=", "other.yaml:loss.q=3", "--queue", "--queue=1", "'loss.q=3"],
)
def test_overrides_that_set_no_parameter_are_errors(text, report):
    with pytest.raises(InputError, match="OVERRIDES"):
        report.overrides(text)


def test_the_base_of_a_shallow_clone_is_fetched_alone(origin, tmp_path, report, monkeypatch):
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=change", origin.as_uri(), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    assert report.base_revision("main") == "origin/main"
    assert git(Path(), "rev-parse", "origin/main") == git(origin, "rev-parse", "main")
    assert git(Path(), "rev-list", "--count", "origin/main") == "1"


def test_the_history_of_a_whole_clone_is_kept(origin, tmp_path, report, monkeypatch):
    git(tmp_path, "clone", "--quiet", "--branch=change", origin.as_uri(), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    assert report.base_revision("main") == "origin/main"
    assert git(Path(), "rev-list", "--count", "HEAD") == "4"


def test_without_a_remote_the_base_is_a_local_branch_that_must_exist(origin, report, monkeypatch):
    monkeypatch.chdir(origin)
    assert report.base_revision("main") == "main"
    with pytest.raises(InputError, match="nothing"):
        report.base_revision("nothing")


def test_images_come_along_and_addresses_stay(tmp_path, report, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/loss.png").write_bytes(b"picture")
    text = "![the loss](../plots/loss.png) and ![a badge](https://example.org/badge.svg)"
    moved = report.with_pictures_beside(text, Path("report"), Path("ci-report/report"))
    assert moved == "![the loss](report/loss.png) and ![a badge](https://example.org/badge.svg)"
    assert (tmp_path / "ci-report/report/loss.png").read_bytes() == b"picture"


def comment(report, length: int = 1, metrics: str = "metrics"):
    return report.Comment("title", "facts", metrics, "params", [Path("plots/a_b.png")], ["no c"], "report " * length)


def test_a_comment_holds_everything_in_its_order(report):
    text = comment(report).short()
    parts = ["## title", "facts", "metrics", "params", "![a b](plots/a_b.png)", "- no c", "report "]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert text == comment(report).whole()


@pytest.mark.parametrize("metrics", ["metrics", "metric " * 20_000])
def test_a_comment_never_grows_beyond_what_github_takes(metrics, report):
    long = comment(report, 20_000, metrics)
    text = long.short()
    assert len(text) < 65_536
    assert "see whole.md" in text
    assert "params" in text
    assert "report " * 20_000 in long.whole()


def test_a_summary_has_no_image_because_it_would_show_none(report):
    assert "![" not in comment(report).without_images()
    assert "- no c" in comment(report).without_images()


def test_a_folder_that_holds_what_no_report_has_written_is_not_replaced(report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report.check_folder()
    (tmp_path / "ci-report/plots").mkdir(parents=True)
    (tmp_path / "ci-report/plots/a.png").write_bytes(b"picture")
    report.write_record(report.FOLDER / report.RECORD, {}, report.written())
    report.check_folder()
    (tmp_path / "ci-report/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"ci-report/notes\.txt: was not written by .ci/report\.py"):
        report.check_folder()
