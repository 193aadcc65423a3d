"""Fetching: the order of sources, what is passed over, what ends it, and what stays in place."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pooch
import pytest

from transformer_spectrum.data.fetch import downloads
from transformer_spectrum.data.fetch.sources import KEPT_NOTE, MIRROR_VARIABLE, Export, fetch
from transformer_spectrum.runtime.errors import InputError

NAME = "toy.csv"
OLD = b"value\n0\nend\n"
OLD_PROVENANCE = json.dumps({"source": "standin", "standin": True, "sha256": hashlib.sha256(OLD).hexdigest()}).encode()
GOOD = {"body": b"value\n1\n2\nend\n"}
BUSY = {"status": 503, "body": b"busy"}
CUT = {"body": b"value\n1\n", "missing": 100}
BAD = {
    "wrong columns": ({"body": b"velocity\n1\n2\nend\n"}, "first line must be 'value'"),
    "a web page": ({"body": b"<!DOCTYPE html><html>Sign in</html>"}, "first line must be 'value'"),
    "nothing": ({"body": b""}, "first line must be 'value'"),
    "missing rows": ({"body": b"value\n1\n2\n"}, "cut short"),
    "a body cut short": (CUT, "cut short"),
}


def read_toy(path: Path, label: str) -> pd.DataFrame:
    lines = path.read_text().splitlines()
    if lines[:1] != ["value"]:
        raise InputError(f"{label}: first line must be 'value'")
    return pd.DataFrame({"value": lines[1:]})


def check_toy(rows: pd.DataFrame, label: str) -> None:
    if rows["value"].iloc[-1] != "end":
        raise InputError(f"{label}: cut short")


def simulate_toy(path: Path, generator: np.random.Generator) -> None:
    path.write_text(f"value\n{generator.integers(10**9)}\nend\n")


@pytest.fixture(autouse=True)
def every_line(caplog):
    caplog.set_level(logging.INFO, "transformer_spectrum")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def old(tmp_path):
    """A destination that holds an earlier result, a stand-in."""
    folder = tmp_path / "raw" / "toy"
    folder.mkdir(parents=True)
    (folder / "series.csv").write_bytes(OLD)
    (folder / "provenance.json").write_bytes(OLD_PROVENANCE)
    return folder


@pytest.fixture
def mirror_folder(tmp_path):
    folder = tmp_path / "secret-place"
    folder.mkdir()
    (folder / NAME).write_bytes(b"value\nmirrored\nend\n")
    return folder


def untouched(folder: Path) -> bool:
    return (
        (folder / "series.csv").read_bytes() == OLD
        and (folder / "provenance.json").read_bytes() == OLD_PROVENANCE
        and [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing temporary is left
    )


def toy(url: str, **fields) -> Export:
    return Export(NAME, "fetch-toy", url, read_toy, check_toy, simulate_toy, notes=("A toy.",), **fields)


def run(export: Export, *folders: Path, mirror: str | Path | None = None, on_unreachable="standin", seed=0):
    place = None if mirror is None else str(mirror)
    return fetch(export, folders, mirror=place, on_unreachable=on_unreachable, standin_seed=seed)


def test_upstream_bytes_arrive_verbatim_with_their_provenance(site, old):
    about = run(toy(site.put("/upstream.csv", GOOD)), old)
    assert (old / "series.csv").read_bytes() == GOOD["body"]
    assert json.loads((old / "provenance.json").read_text()) == about
    assert about == {
        "source": "upstream",
        "standin": False,
        "location": f"{site.url}/upstream.csv",
        "sha256": hashlib.sha256(GOOD["body"]).hexdigest(),
        "bytes": len(GOOD["body"]),
        "rows": 3,
        "notes": ["A toy."],
    }
    assert sorted(path.name for path in old.iterdir()) == ["provenance.json", "series.csv"]
    assert [path.stat().st_mode & 0o777 for path in sorted(old.iterdir())] == [0o644, 0o644]


def test_fetching_again_gives_the_same_bytes(site, tmp_path):
    export = toy(site.put("/upstream.csv", GOOD))
    run(export, tmp_path / "a")
    run(export, tmp_path / "b")
    for name in ("series.csv", "provenance.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("fault", [BUSY, {"status": 429}, CUT])
def test_a_passing_fault_is_tried_again(site, old, fault):
    about = run(toy(site.put("/upstream.csv", fault, fault, GOOD)), old)
    assert about["source"] == "upstream"
    assert site.requests == ["/upstream.csv"] * 3


@pytest.mark.parametrize(("status", "attempts"), [(500, 3), (503, 3), (404, 1), (403, 1), (410, 1)])
def test_a_server_that_refuses_is_passed_over(site, old, caplog, status, attempts):
    about = run(toy(site.put("/upstream.csv", {"status": status})), old)
    assert about["source"] == "standin"
    assert len(site.requests) == attempts
    assert f"{NAME}: upstream not within reach: HTTP {status}" in caplog.text


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("source", ["upstream", "mirror"])
def test_a_broken_file_is_an_error_and_nothing_replaces_it(site, old, kind, source):
    reply, rule = BAD[kind]
    broken, good = site.put(f"/broken/{NAME}", reply), site.put("/good.csv", GOOD)
    with pytest.raises(InputError, match=f"{NAME if kind != 'a body cut short' else '/broken'}.*{rule}"):
        if source == "upstream":
            run(toy(broken), old)
        else:
            run(toy(good), old, mirror=f"{site.url}/broken")
    assert untouched(old)
    assert "/good.csv" not in site.requests


def test_a_broken_file_in_a_mirror_folder_is_an_error_too(site, old, mirror_folder):
    (mirror_folder / NAME).write_bytes(b"value\n1\n")
    with pytest.raises(InputError, match=f"{NAME} .mirror .*cut short"):
        run(toy(site.put("/good.csv", GOOD)), old, mirror=mirror_folder)
    assert untouched(old)
    assert site.requests == []


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (b'"count"\n"4"\n', "has 3 rows, but count.* 4"),
        (b'"count"\n"2"\n', "has 3 rows, but count.* 2"),
        (b"<html>", "number"),
    ],
)
def test_a_row_count_that_does_not_agree_is_an_error(site, old, answer, rule):
    count = site.put("/count.csv", {"body": answer})
    with pytest.raises(InputError, match=rule):
        run(toy(site.put("/upstream.csv", GOOD), count_url=count), old)
    assert untouched(old)


def test_a_row_count_that_agrees_stands_for_completeness(site, old):
    """The toy's rows lack their end, which only matters where nobody counts."""
    export = toy(
        site.put("/upstream.csv", {"body": b"value\n1\n2\n"}),
        count_url=site.put("/count.csv", {"body": b'"count"\r\n"2"\r\n'}),
    )
    assert run(export, old)["rows"] == 2


def test_without_a_row_count_upstream_is_not_within_reach(site, old):
    export = toy(site.put("/upstream.csv", GOOD), count_url=site.put("/count.csv", {"status": 404}))
    assert run(export, old)["source"] == "standin"
    assert site.requests == ["/count.csv"]


def test_a_mirror_goes_before_upstream_and_its_place_stays_private(site, old, mirror_folder):
    about = run(toy(site.put("/upstream.csv", GOOD)), old, mirror=mirror_folder)
    assert (old / "series.csv").read_bytes() == (mirror_folder / NAME).read_bytes()
    assert site.requests == []
    assert (about["source"], about["location"], about["rows"]) == ("mirror", NAME, 2)
    written = (old / "provenance.json").read_text()
    assert "secret-place" not in written
    assert str(mirror_folder.parent) not in written


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_mirror_may_be_a_url(site, closed_url, old, slash):
    site.put(f"/files/{NAME}", GOOD)
    about = run(toy(closed_url), old, mirror=f"{site.url}/files{slash}")
    assert (about["source"], about["location"]) == ("mirror", NAME)
    assert "127.0.0.1" not in (old / "provenance.json").read_text()


def test_the_environment_variable_goes_before_the_parameter(site, old, mirror_folder, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, str(mirror_folder))
    run(toy("http://127.0.0.1:1/x"), old, mirror=f"{site.url}/files")
    assert b"mirrored" in (old / "series.csv").read_bytes()
    assert site.requests == []


def test_an_empty_environment_variable_is_not_set(old, closed_url, mirror_folder, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, "")
    assert run(toy(closed_url), old, mirror=mirror_folder)["source"] == "mirror"


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [
        ("{tmp}/raw", "No such file"),
        ("{site}/empty", "HTTP 404"),
        ("{closed}", "refused"),
    ],
)
def test_a_mirror_without_the_file_is_passed_over_with_a_line(site, closed_url, old, tmp_path, caplog, mirror, reason):
    mirror = mirror.format(tmp=tmp_path, site=site.url, closed=closed_url)
    about = run(toy(site.put("/upstream.csv", GOOD)), old, mirror=mirror)
    assert about["source"] == "upstream"
    lines = caplog.messages
    assert sum(line.startswith(f"{NAME}: mirror not within reach:") and reason in line for line in lines) == 1


def test_a_mirror_folder_that_does_not_exist_is_an_error_and_no_stand_in(closed_url, old, tmp_path):
    with pytest.raises(InputError, match=r"data\.mirror = .*nowhere: no such folder"):
        run(toy(closed_url), old, mirror=tmp_path / "nowhere")
    assert untouched(old)


def test_a_mirror_of_another_kind_is_an_error_that_names_what_was_set(closed_url, old, monkeypatch):
    with pytest.raises(InputError, match=r"data\.mirror = ftp://host/x: must be a folder or an http\(s\) URL"):
        run(toy(closed_url), old, mirror="ftp://user:password@host/x")
    monkeypatch.setenv(MIRROR_VARIABLE, "s3://bucket")
    with pytest.raises(InputError, match=f"{MIRROR_VARIABLE} = s3://bucket"):
        run(toy(closed_url), old)
    assert untouched(old)


@pytest.mark.parametrize("url", ["file.csv", "ftp://host/x", "http://", "http://host:port/x", "http://host:99999/x"])
def test_an_upstream_address_that_is_no_url_is_an_error(old, url):
    with pytest.raises(InputError, match=f"{NAME}: upstream .*must be an http"):
        run(toy(url), old)
    assert untouched(old)


def test_with_nothing_within_reach_a_stand_in_is_simulated_and_marked(closed_url, old, tmp_path, caplog):
    about = run(toy(closed_url), old, mirror=tmp_path, seed=7)
    assert about["standin"] is True
    assert (about["source"], about["seed"], about["rows"]) == ("standin", 7, 2)
    assert str(tmp_path) not in (old / "provenance.json").read_text()
    lines = [line for line in caplog.messages if "STAND-IN" in line]
    assert lines == [
        f"{NAME}: STAND-IN, not data: 2 rows simulated with data.standin_seed = 7, as no source is within reach; "
        "when one is: dvc repro -f -s fetch-toy"
    ]


def test_the_seed_and_the_file_name_decide_the_stand_in(closed_url, tmp_path):
    def simulated(name: str, seed: int) -> bytes:
        run(replace(toy(closed_url), file_name=name), tmp_path / "out", seed=seed)
        return (tmp_path / "out" / "series.csv").read_bytes()

    assert simulated("a.csv", 1) == simulated("a.csv", 1)
    assert len({simulated("a.csv", 1), simulated("a.csv", 2), simulated("b.csv", 1)}) == 3


def put_real(folder: Path) -> bytes:
    """Real data of an earlier fetch."""
    folder.mkdir(parents=True, exist_ok=True)
    real = b"value\n5\nend\n"
    (folder / "series.csv").write_bytes(real)
    about = {"source": "upstream", "standin": False, "sha256": hashlib.sha256(real).hexdigest(), "notes": ["A toy."]}
    (folder / "provenance.json").write_text(json.dumps(about))
    return real


@pytest.mark.parametrize("place", ["the folder itself", "the second folder", "an earlier folder"])
def test_a_stand_in_never_takes_the_place_of_real_data(closed_url, old, tmp_path, caplog, place):
    folders, earlier = [old, tmp_path / "raw/second"], tmp_path / "raw/earlier"
    real = put_real({"the folder itself": old, "the second folder": folders[1]}.get(place, earlier))
    for _ in range(2):  # and it says so once, however often
        about = fetch(
            toy(closed_url), folders, mirror=None, on_unreachable="standin", standin_seed=0, earlier=[earlier]
        )
        assert [(folder / "series.csv").read_bytes() for folder in folders] == [real, real]
        assert (about["source"], about["standin"]) == ("upstream", False)
        assert about["notes"] == ["A toy.", KEPT_NOTE]
        assert json.loads((folders[1] / "provenance.json").read_text()) == about
        assert about["kept"] is True
        assert sum("KEPT the 2 rows" in line for line in caplog.messages) == 1
        caplog.clear()


def test_real_data_give_way_to_what_a_source_delivers(site, old):
    put_real(old)
    assert "notes" in run(toy(site.put("/upstream.csv", GOOD)), old)
    assert (old / "series.csv").read_bytes() == GOOD["body"]


@pytest.mark.parametrize("record", ["none", "of other bytes", "no JSON"])
def test_a_file_that_no_fetch_has_written_is_left_alone(site, old, record):
    (old / "series.csv").write_bytes(b"mine")
    if record == "none":
        (old / "provenance.json").unlink()
    elif record == "no JSON":
        (old / "provenance.json").write_bytes(b"{")
    with pytest.raises(InputError, match=r"series\.csv: is not what provenance\.json beside it describes"):
        run(toy(site.put("/upstream.csv", GOOD)), old)
    assert (old / "series.csv").read_bytes() == b"mine"
    assert site.requests == []


def test_other_files_in_the_folder_stay(site, old):
    (old / "deep").mkdir()
    (old / "deep/notes.txt").write_text("mine")
    (old / "link").symlink_to("nowhere")
    run(toy(site.put("/upstream.csv", GOOD)), old)
    assert (old / "series.csv").read_bytes() == GOOD["body"]
    assert (old / "deep/notes.txt").read_text() == "mine"
    assert (old / "link").readlink() == Path("nowhere")


def test_a_stand_in_must_pass_the_same_checks(closed_url, old):
    export = replace(toy(closed_url), simulate=lambda path, generator: path.write_text("value\n1\n"))
    with pytest.raises(InputError, match=r"stand-in\): cut short"):
        run(export, old)
    assert untouched(old)


def test_nothing_within_reach_is_an_error_where_a_stand_in_is_not_wanted(closed_url, old, tmp_path):
    with pytest.raises(InputError, match=r"data\.on_unreachable = fail: .*mirror .*; upstream http.*refused") as e:
        run(toy(closed_url), old, mirror=tmp_path, on_unreachable="fail")
    assert "\n" not in str(e.value)
    assert untouched(old)


def test_two_folders_get_the_same_bytes_from_one_request(site, tmp_path):
    run(toy(site.put("/upstream.csv", GOOD)), tmp_path / "a", tmp_path / "b")
    assert site.requests == ["/upstream.csv"]
    for name in ("series.csv", "provenance.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_interruption_leaves_the_old_files(site, old):
    def interrupted(path: Path, label: str) -> pd.DataFrame:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(replace(toy(site.put("/upstream.csv", GOOD)), read=interrupted), old)
    assert untouched(old)


def test_an_error_of_writing_names_the_destination(closed_url, old):
    def full(path: Path, generator: np.random.Generator) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        run(replace(toy(closed_url), simulate=full), old)
    assert caught.value.filename == str(old / "series.csv")
    assert untouched(old)


def test_a_copy_known_by_its_checksum_carries_its_remark(site, old):
    remarks = {hashlib.sha256(GOOD["body"]).hexdigest(): "Known."}
    assert "Known." in run(toy(site.put("/upstream.csv", GOOD), remarks=remarks), old)["notes"]


def test_passwords_in_addresses_are_not_shown(site, old, caplog):
    site.put("/upstream.csv", GOOD)
    with_password = site.url.replace("//", "//user:password@")
    about = run(toy(f"{with_password}/upstream.csv"), old, mirror=f"{with_password}/none")
    assert about["location"] == f"{site.url}/upstream.csv"
    assert "password" not in caplog.text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_bar_is_for_terminals_only(site, tmp_path, monkeypatch, caplog):
    export = toy(site.put("/upstream.csv", GOOD))
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        caplog.clear()
        run(export, tmp_path / "out")
        assert ("B/s" in stream.getvalue()) is drawn
        assert f"{NAME}: trying upstream {site.url}/upstream.csv" in caplog.messages


def test_an_unknown_host_is_not_asked_again(old, monkeypatch):
    asked = []

    def unknown(*address: object, **_: object) -> None:
        asked.append(address)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InputError, match="Name or service not known"):
        run(toy("https://upstream.invalid/x.csv"), old, on_unreachable="fail")
    assert len(asked) == 1


def test_a_host_that_answers_nothing_is_given_up_in_time(old, monkeypatch):
    """Silent name servers and firewalls: the limit holds for all of it, once."""
    released = threading.Event()

    def silent(*_: object, **__: object) -> list:
        released.wait(20)
        return []

    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"no connection within 0\.2 s"):
        run(toy("https://upstream.invalid/x.csv"), old, on_unreachable="fail")
    assert time.monotonic() - began < 5
    released.set()


def test_a_machine_without_network_gets_through_in_20_seconds():
    """Both data sets, each with a silent mirror and a silent upstream; the pauses are not reached."""
    assert 2 * 2 * downloads.CONNECT_SECONDS < 20


def test_a_server_that_says_nothing_is_not_asked_again(old, monkeypatch):
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x.csv"
        with pytest.raises(InputError, match=r"no answer within 0\.2 s"):
            run(toy(address), old, on_unreachable="fail")


def test_a_proxy_is_asked_instead_of_the_host(site, old, monkeypatch):
    """The host's name cannot be resolved here, only the proxy can be reached."""
    monkeypatch.setenv("http_proxy", site.url.removeprefix("http://"))
    site.put("http://upstream.invalid/x.csv", GOOD)
    assert run(toy("http://upstream.invalid/x.csv"), old)["source"] == "upstream"
