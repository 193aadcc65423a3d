"""Outputs go to a remote and come back from it, so that nobody has to run what another has run."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/share.md").read_text()


def ran(printed: str) -> set[str]:
    return set(re.findall(r"Running stage '([\w-]+)'", printed))


def cloned(author, root):
    """What a colleague has after `git clone`: neither data nor weights."""
    author.run("git", "clone", "--quiet", str(author.root), str(root))
    clone = dataclasses.replace(author, root=root)
    assert not (root / "models").exists()
    assert not (root / ".dvc/cache").exists()
    return clone


@pytest.fixture(params=["s3", "folder"])
def shared(request):
    """An author and the storage that was pushed to."""
    return request.getfixturevalue(f"shared_by_{request.param}"), request.getfixturevalue(request.param)


def test_what_is_pushed_lies_in_the_remote(shared):
    author, storage = shared
    lock = yaml.safe_load((author.root / "dvc.lock").read_text())
    stages = yaml.safe_load((author.root / "dvc.yaml").read_text())["stages"]
    listed = "\n".join(storage.listed())
    pushed = 0
    for name, stage in stages.items():
        for out in stage["outs"]:
            if isinstance(out, dict) and next(iter(out.values())).get("cache") is False:
                continue
            path = out if isinstance(out, str) else next(iter(out))
            entry = next(one for one in lock["stages"][name]["outs"] if one["path"] == path)
            assert f"files/md5/{entry['md5'][:2]}/{entry['md5'][2:]}" in listed, path
            pushed += 1
    assert pushed >= 8


def test_a_second_clone_pulls_one_model_or_all_and_has_nothing_to_run(shared, tmp_path):
    author, _ = shared
    second = cloned(author, tmp_path / "second")
    second.run("dvc", "pull", "train-adam")  # outputs are files, so a folder of them is no target
    assert [path.name for path in (second.root / "models").iterdir()] == ["adam"]
    assert not (second.root / "data/raw").exists()
    second.run("dvc", "pull")
    assert second.files() == author.files()
    printed = second.run("dvc", "repro")
    assert ran(printed) == set()
    assert "up to date" in printed
    second.set(spectra__hill_fraction=0.5)  # and that was no accident: what has changed would run, on what was pulled
    assert ran(second.run("dvc", "repro", "--dry", "spectra")) == {"spectra"}


def test_a_second_clone_reproduces_out_of_the_remote_alone(shared_by_s3, tmp_path):
    second = cloned(shared_by_s3, tmp_path / "second")
    assert ran(second.run("dvc", "repro", "--pull")) == set()
    assert second.files() == shared_by_s3.files()


def test_the_page_on_sharing_shows_every_kind_of_remote_and_dvc_takes_them(another):
    urls = re.findall(r"^dvc remote add -d storage (\S+)", PAGE, re.MULTILINE)
    assert [re.match(r"\w*(?=://)|(?=/)", url)[0] for url in urls] == ["s3", "gs", "ssh", ""]
    for url in urls:
        another.run("dvc", "remote", "add", "--force", "-d", "storage", url)
        assert url in another.run("dvc", "remote", "list")
