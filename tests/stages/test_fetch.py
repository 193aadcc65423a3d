"""The two fetch stages as DVC runs them: a process in the repository's root, with params.yaml and the environment."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from nursery import Child, Nursery

from transformer_spectrum.data.fetch.standin import simulate_covid, simulate_rvr
from transformer_spectrum.data.series import covid, rvr
from transformer_spectrum.data.series.covid import check_covid_complete, read_covid
from transformer_spectrum.data.series.rvr import check_rvr_complete, read_rvr

ROOT = Path(__file__).resolve().parents[2]

# The loopback site is defined beside the tests of the sources.
_specification = importlib.util.spec_from_file_location("data_conftest", ROOT / "tests" / "data" / "conftest.py")
_shared = importlib.util.module_from_spec(_specification)
sys.modules["data_conftest"] = _shared
_specification.loader.exec_module(_shared)
site, closed_url = _shared.site, _shared.closed_url

FILES = {"covid": covid.FILE_NAME, "rvr": rvr.FILE_NAME}
FOLDERS = {"covid": ["covid"], "rvr": ["rvr_beds", "rvr_flu"]}
OLD_PROVENANCE = json.dumps({"standin": True, "sha256": hashlib.sha256(b"old series").hexdigest()}).encode()
BOTH = pytest.mark.parametrize("stage", ["covid", "rvr"])


class Workspace:
    """A folder with params.yaml in which the stages run."""

    def __init__(self, root: Path, nursery: Nursery) -> None:
        self.root, self.nursery = root, nursery
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text())
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if key != "TRANSFORMER_SPECTRUM_MIRROR" and not key.lower().endswith("_proxy")
        }

    def start(self, stage: str, largest_file: int | None = None) -> Child:
        (self.root / "params.yaml").write_text(yaml.safe_dump(self.params))
        return self.nursery.start([ROOT / f"stages/fetch_{stage}.py"], self.root, self.environment, largest_file)

    def run(self, stage: str, code: int = 0, largest_file: int | None = None) -> list[str]:
        """The lines that it prints."""
        found, printed = self.start(stage, largest_file).wait()
        assert found == code, printed
        assert "Traceback" not in printed
        return printed.splitlines()

    def raw(self, folder: str, name: str = "series.csv") -> bytes:
        return (self.root / "data" / "raw" / folder / name).read_bytes()

    def put_old(self, stage: str) -> None:
        for folder in FOLDERS[stage]:
            path = self.root / "data" / "raw" / folder
            path.mkdir(parents=True)
            (path / "series.csv").write_bytes(b"old series")
            (path / "provenance.json").write_bytes(OLD_PROVENANCE)

    def assert_old(self, stage: str) -> None:
        for folder in FOLDERS[stage]:
            assert self.raw(folder) == b"old series"
            assert self.raw(folder, "provenance.json") == OLD_PROVENANCE
        visible = [path.name for path in (self.root / "data" / "raw").iterdir() if not path.name.startswith(".")]
        assert sorted(visible) == sorted(FOLDERS[stage])


@pytest.fixture
def workspace(tmp_path, site, nursery):
    """Upstream has nothing (404) until a test puts something there."""
    made = Workspace(tmp_path, nursery)
    made.params["data"]["covid"]["url"] = f"{site.url}/none.csv"
    made.params["data"]["rvr"]["url"] = f"{site.url}/none.csv"
    return made


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> Path:
    """A mirror with well-formed files of both schemas."""
    folder = tmp_path_factory.mktemp("secret-mirror")
    simulate_covid(folder / covid.FILE_NAME, np.random.default_rng(5), countries=["Sweden", "Malta"])
    simulate_rvr(folder / rvr.FILE_NAME, np.random.default_rng(5), regions=rvr.REGIONS)
    return folder


@BOTH
def test_a_mirror_is_copied_verbatim_and_its_place_is_not_recorded(workspace, copies, stage):
    workspace.params["data"]["mirror"] = str(copies)
    workspace.put_old(stage)
    workspace.run(stage)
    for folder in FOLDERS[stage]:
        assert workspace.raw(folder) == (copies / FILES[stage]).read_bytes()
        about = workspace.raw(folder, "provenance.json").decode()
        assert json.loads(about)["source"] == "mirror"
        assert json.loads(about)["location"] == FILES[stage]
        assert not any(part in about for part in ("secret-mirror", str(workspace.root), str(copies)))


def test_upstream_rows_are_counted_and_the_queries_are_as_documented(workspace, copies, site):
    body = (copies / rvr.FILE_NAME).read_bytes()
    workspace.params["data"]["rvr"]["url"] = f"{site.url}/9t9r-e5a3.csv"
    site.put("/9t9r-e5a3.csv", {"body": body})
    site.put("/9t9r-e5a3.csv?$select=count(*)", {"body": b'"count"\n"%d"\n' % (body.count(b"\n") - 1)})
    workspace.run("rvr")
    assert site.requests == [
        "/9t9r-e5a3.csv?$select=count(*)",
        "/9t9r-e5a3.csv?$select=jurisdiction,collection_date,average_inpatient_beds_1,total_admissions_all_influenza"
        "&$order=jurisdiction,collection_date&$limit=1000000",
    ]
    assert workspace.raw("rvr_beds") == workspace.raw("rvr_flu") == body
    about = json.loads(workspace.raw("rvr_beds", "provenance.json"))
    assert (about["source"], about["location"]) == ("upstream", site.url + site.requests[1])


def test_upstream_rows_that_disagree_with_the_count_end_the_stage(workspace, copies, site):
    body = (copies / rvr.FILE_NAME).read_bytes()
    workspace.params["data"]["rvr"]["url"] = f"{site.url}/9t9r-e5a3.csv"
    site.put("/9t9r-e5a3.csv", {"body": body})
    site.put("/9t9r-e5a3.csv?$select=count(*)", {"body": b'"count"\n"88091"\n'})
    workspace.put_old("rvr")
    error = workspace.run("rvr", code=2)[-1]
    assert error.startswith("fetch-rvr: error: cdc_rvr_9t9r-e5a3.csv (upstream")
    assert "count(*) upstream is 88091" in error
    workspace.assert_old("rvr")


@pytest.mark.slow
@BOTH
def test_a_machine_without_network_gets_a_marked_stand_in_soon(workspace, closed_url, stage):
    workspace.params["data"][stage]["url"] = f"{closed_url}/none.csv"
    workspace.environment["PAUSES"] = "as they are"  # see tests/nursery.py
    began = time.monotonic()
    lines = workspace.run(stage)
    assert time.monotonic() - began < 10
    assert sum("STAND-IN, not data" in line for line in lines) == 1
    for folder in FOLDERS[stage]:
        about = json.loads(workspace.raw(folder, "provenance.json"))
        assert (about["standin"], about["source"], about["seed"]) == (True, "standin", 0)
        path = workspace.root / "data" / "raw" / folder / "series.csv"
        if stage == "covid":
            check_covid_complete(read_covid(path), "x")
            assert set(read_covid(path).columns) == {"World", *workspace.params["data"]["covid"]["countries"]}
        else:
            check_rvr_complete(read_rvr(path), "x")


def test_the_stand_in_is_the_same_each_time(workspace):
    made = []
    for seed in (0, 0, 1):
        workspace.params["data"]["standin_seed"] = seed
        workspace.run("covid")
        made.append((workspace.raw("covid"), workspace.raw("covid", "provenance.json")))
    assert made[0] == made[1]
    assert made[0][0] != made[2][0]


@BOTH
def test_real_data_stay_when_the_network_has_gone(workspace, copies, closed_url, stage):
    workspace.params["data"]["mirror"] = str(copies)
    workspace.run(stage)
    workspace.params["data"]["mirror"] = None
    workspace.params["data"][stage]["url"] = f"{closed_url}/none.csv"
    lines = workspace.run(stage)
    assert sum("KEPT" in line for line in lines) == 1
    assert not any("STAND-IN" in line for line in lines)
    for folder in FOLDERS[stage]:
        assert workspace.raw(folder) == (copies / FILES[stage]).read_bytes()
        about = json.loads(workspace.raw(folder, "provenance.json"))
        assert (about["standin"], about["source"]) == (False, "mirror")
        assert about["notes"][-1].startswith("Kept from an earlier fetch")


def test_what_download_rvr_has_fetched_goes_before_a_stand_in(workspace, copies, closed_url):
    workspace.params["data"]["mirror"] = str(copies)
    workspace.run("rvr")
    raw = workspace.root / "data/raw"
    (raw / "rvr_beds").rename(raw / "rvr")
    workspace.params["data"]["mirror"] = None
    workspace.params["data"]["rvr"]["url"] = f"{closed_url}/none.csv"
    (raw / "rvr_flu/series.csv").unlink()
    workspace.run("rvr")
    for folder in FOLDERS["rvr"]:
        assert workspace.raw(folder) == (copies / FILES["rvr"]).read_bytes()


@BOTH
def test_on_unreachable_fail_ends_with_one_line(workspace, stage):
    workspace.params["data"]["on_unreachable"] = "fail"
    workspace.put_old(stage)
    lines = workspace.run(stage, code=2)
    errors = [line for line in lines if "error" in line]
    assert errors == lines[-1:]
    assert errors[0].startswith(f"fetch-{stage}: error: data.on_unreachable = fail: no source of {FILES[stage]}")
    workspace.assert_old(stage)


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_file_ends_the_stage_and_no_stand_in_takes_its_place(workspace, copies, tmp_path, stage, share):
    content = (copies / FILES[stage]).read_bytes()
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / FILES[stage]).write_bytes(content[: int(len(content) * share)])
    workspace.params["data"]["mirror"] = str(cut)
    workspace.put_old(stage)
    error = workspace.run(stage, code=2)[-1]
    assert error.startswith(f"fetch-{stage}: error: {FILES[stage]} (mirror {cut}")
    assert "cut short" in error or "is empty" in error
    workspace.assert_old(stage)


@BOTH
@pytest.mark.parametrize("source", ["mirror", "upstream", "stand-in"])
def test_a_disk_that_fills_ends_the_stage_with_one_line(workspace, copies, site, stage, source):
    """The limit on the size of files makes the kernel refuse the write, as a full disk does."""
    if source == "mirror":
        workspace.params["data"]["mirror"] = str(copies)
    elif source == "upstream":
        body = (copies / FILES[stage]).read_bytes()
        workspace.params["data"][stage]["url"] = site.put("/data.csv", {"body": body})
        site.put("/data.csv?$select=count(*)", {"body": b'"count"\n"1"\n'})
    workspace.put_old(stage)
    lines = workspace.run(stage, code=2, largest_file=30_000)
    assert lines[-1] == f"fetch-{stage}: error: data/raw/{FOLDERS[stage][0]}/series.csv: File too large"
    workspace.assert_old(stage)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_download_leaves_the_old_files(workspace, copies, site, number, code):
    half = (copies / covid.FILE_NAME).read_bytes()[:5000]
    workspace.params["data"]["covid"]["url"] = site.put("/cases.csv", {"body": half, "missing": 5000, "stall": True})
    workspace.put_old("covid")
    process = workspace.start("covid")
    assert site.stalled.wait(30)
    time.sleep(0.2)
    process.send(number)
    found, printed = process.wait()
    assert found == code, printed
    assert "Traceback" not in printed
    workspace.assert_old("covid")
    # And the next run is not hindered by what the killed one left behind.
    workspace.params["data"]["mirror"] = str(copies)
    workspace.run("covid")
    assert workspace.raw("covid") == (copies / covid.FILE_NAME).read_bytes()


@BOTH
def test_the_stages_do_not_load_torch(stage):
    program = f"import runpy, sys; runpy.run_path('stages/fetch_{stage}.py'); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": "src"}
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "False"
