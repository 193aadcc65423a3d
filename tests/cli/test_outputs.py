"""No command writes over what it has not written, over an input, or over what a stage makes."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from small_runs import write_data

from transformer_spectrum.cli.main import COMMANDS, main, parser
from transformer_spectrum.data.series import covid, rvr
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, sha256
from transformer_spectrum.runtime.ownership import stage_outputs

ROOT = Path(__file__).parents[2]
NOWHERE = ("--set", "data.covid.url=http://127.0.0.1:9/c.csv", "--set", "data.rvr.url=http://127.0.0.1:9/r.csv")

pytestmark = pytest.mark.usefixtures("elsewhere")
GENERATE = ("generate-synthetic", "--n-sequences", "5", "--seq-len", "30")


@pytest.fixture
def refused(capsys):
    """Runs a command that must end in one line with these words, and returns nothing."""

    def run(*command: object, words: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in command])
        printed = capsys.readouterr().err
        assert ended.value.code == 2, printed
        assert words in printed
        assert len([line for line in printed.splitlines() if "error:" in line]) == 1

    return run


def contents(folder: Path = Path()) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_command_that_writes_where_it_is_told_has_a_force():
    commands = next(action for action in parser(*COMMANDS)._actions if action.dest == "command").choices
    options = {
        name: {word for action in command._actions for word in action.option_strings}
        for name, command in commands.items()
    }
    assert {name for name, words in options.items() if "--force" in words} == {
        name for name, words in options.items() if words & {"--out", "--plot"}
    }


@pytest.mark.parametrize("place", ["o.npy", "o.csv", "deep/o.npz", "o.parquet"])
def test_a_file_of_somebody_else_is_written_over_only_when_forced(refused, place):
    path = Path(place)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"years of work")
    refused(*GENERATE, "-o", place, words=f"--out = {place}: exists and is not as this program has written it")
    assert path.read_bytes() == b"years of work"
    main([*GENERATE, "-o", place, "--force"])
    first = path.read_bytes()
    main([*GENERATE, "-o", place])  # ours now
    assert path.read_bytes() == first
    path.write_bytes(first + b"\n")
    refused(*GENERATE, "-o", place, words="not as this program has written it")
    assert path.read_bytes() == first + b"\n"


def test_a_provenance_of_somebody_else_a_link_and_a_folder_are_not_written_over(refused):
    Path("a.npy.provenance.json").write_text('{"mine": 1}')
    refused(*GENERATE, "-o", "a.npy", words="a.npy.provenance.json would be written too")
    assert not Path("a.npy").exists()
    Path("b.npy").symlink_to("nowhere")
    refused(*GENERATE, "-o", "b.npy", words="exists and is not as this program")
    Path("c.npy").mkdir()
    refused(*GENERATE, "-o", "c.npy", "--force", words="c.npy is a folder; must be a file")


@pytest.mark.parametrize("alias", ["the same", "relative", "absolute", "symbolic link", "hard link", "linked folder"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_input_is_never_written_over(refused, mirror, alias, force):
    Path("in").mkdir()
    shutil.copy(mirror / covid.FILE_NAME, "in/raw.csv")
    out = {"relative": "in/../in/raw.csv", "absolute": str(Path("in/raw.csv").absolute())}.get(alias, "in/raw.csv")
    if alias == "symbolic link":
        Path("out.csv").symlink_to("in/raw.csv")
        out = "out.csv"
    elif alias == "hard link":
        os.link("in/raw.csv", "out.csv")
        out = "out.csv"
    elif alias == "linked folder":
        Path("there").symlink_to("in")
        out = "there/raw.csv"
    before = contents()
    refused("process-covid", "-i", "in/raw.csv", "-o", out, *force, words="is an input of this command (in/raw.csv)")
    assert contents() == before


def test_the_file_of_a_folder_that_was_downloaded_is_an_input(refused, mirror):
    main(["download-rvr", "-o", "raw", "--mirror", str(mirror), *NOWHERE])
    before = contents()
    refused("process-rvr", "-i", "raw", "-o", "raw/series.csv", "--force", words="is an input of this command")
    assert contents() == before
    for _ in range(2):
        main(["process-rvr", "-i", "raw", "-o", "raw/beds.npz"])


def test_a_forecast_leaves_its_input_and_pictures_of_others_alone(refused, trained, capsys):
    write_data(Path("s.npy"))
    before = contents()
    refused("forecast", trained, "-d", "s.npy", "-o", "s.npy", "--force", words="is an input of this command (s.npy)")
    windows = trained / "data/windows.npz"
    refused("forecast", trained, "-d", "s.npy", "-o", windows, "--force", words="lies in an input of this command")
    Path("y.png").write_bytes(b"a photograph")
    refused(
        "forecast", trained, "-d", "s.npy", "-o", "y.csv", words="--plot = y.png: exists and is not as this program"
    )
    assert contents() == {**before, "y.png": b"a photograph"}
    for _ in range(2):
        main(["forecast", str(trained), "-d", "s.npy", "-o", "z.csv"])
    about = read_json("z.csv.provenance.json")
    assert about["files"] == {"z.csv": sha256("z.csv"), "z.png": sha256("z.png")}
    assert (about["source"], about["standin"], about["dataset"]["sha256"]) == ("forecast", False, sha256("s.npy"))
    refused("forecast", trained, "-d", "z.csv", "-o", "z.csv", words="is an input of this command")


def test_an_analysis_replaces_an_analysis_and_nothing_else(refused):
    import torch

    Path("in").mkdir()
    torch.save({"a.weight": torch.randn(16, 16, generator=torch.Generator().manual_seed(0))}, "in/w.pt")
    quick = ("analyze", "in/w.pt", "--shuffles", "3", "--figures", "0", "--out")
    main([*quick, "out"])
    main([*quick, "out"])
    refused(*quick, "in", "--force", words="holds an input of this command")
    Path("out/notes.txt").write_text("mine")
    refused(*quick, "out", words="holds other files, such as notes.txt")
    Path("out/notes.txt").unlink()
    with Path("out/matrices.csv").open("a") as stream:
        stream.write("edited\n")
    refused(*quick, "out", words="such as matrices.csv")
    main([*quick, "out", "--force"])
    assert "edited" not in Path("out/matrices.csv").read_text()


def test_real_data_of_a_download_are_not_replaced_by_a_stand_in(mirror, capsys):
    for out in ("raw", "raw.csv"):
        path = Path(out) / "series.csv" if out == "raw" else Path(out)
        main(["download-covid", "-o", out, "--mirror", str(mirror), *NOWHERE])
        main(["download-covid", "-o", out, *NOWHERE])
        assert "KEPT" in capsys.readouterr().err
        assert path.read_bytes() == (mirror / covid.FILE_NAME).read_bytes()
    assert read_json("raw.csv.provenance.json")["standin"] is False


def test_a_download_into_a_folder_of_somebody_elses_data_needs_force_and_loses_no_other_file(refused, mirror):
    Path("raw").mkdir()
    Path("raw/series.csv").write_text("mine")
    command = ("download-covid", "-o", "raw", "--mirror", mirror, *NOWHERE)
    refused(*command, words="raw/series.csv: is not what provenance.json beside it describes")
    Path("raw/thesis.tex").write_text("years")
    refused(*command, words="holds thesis.tex too")
    main([str(word) for word in (*command, "--force")])
    assert Path("raw/series.csv").read_bytes() == (mirror / covid.FILE_NAME).read_bytes()
    assert Path("raw/thesis.tex").read_text() == "years"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A DVC checkout with this repository's pipelines, as far as a command can see them."""
    for folder in (".dvc", "studies"):
        (tmp_path / folder).mkdir()
    for name in ("dvc.yaml", "dvc.lock", "params.yaml", "studies/dvc.yaml", "studies/dvc.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_outputs_of_a_pipeline_are_those_that_dvc_sees(checkout, pytestconfig):
    from dvc.repo import Repo

    expected = {str(Path(out.fs_path).relative_to(ROOT)) for out in Repo(str(pytestconfig.rootpath)).index.outs}
    assert {str(out.relative_to(checkout)) for _, out in stage_outputs(checkout / "x")} >= expected


def test_what_a_stage_makes_is_not_written_over_even_when_forced(checkout, refused, mirror):
    for out, stage in (
        ("data/raw/synthetic/series.npy", "synthesize"),
        ("data/processed/windows.npz", "prepare"),
        ("plots/deep/mine.csv", "spectra"),
        ("metrics/adam/mine.csv", "train-adam"),
    ):
        refused(*GENERATE, "-o", out, "--force", words=f"the DVC stage {stage} makes")
        refused(*GENERATE, "-o", (checkout / out).absolute(), words=f"the DVC stage {stage} makes")
    for folder, stage in (("models", "train-adam"), ("data", "fetch-rvr"), ("report", "report")):
        command = ("download-covid", "-o", folder, "--mirror", mirror, *NOWHERE)
        refused(*command, words=f"the DVC stage {stage} makes")
    write_data(Path("d.npy"))
    refused("train", "-d", "d.npy", "--runs", "plots", words="--runs = plots/d-adam: the DVC stage spectra makes plots")
    main([*GENERATE, "-o", "data/processed/synthetic.npy"])  # the place that the first documentation named: no output


def test_a_pipeline_in_a_folder_with_its_own_place_to_work_counts_too(checkout, refused):
    (checkout / "more").mkdir()
    stages = {"a": {"cmd": "x", "wdir": "..", "outs": [{"kept.npy": {"cache": False}}], "plots": [{"path": "curves"}]}}
    stages["each"] = {"foreach": ["b"], "do": {"cmd": "x", "outs": ["${item}.npy"]}}
    (checkout / "more/dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (checkout / "more/dvc.lock").write_text(yaml.safe_dump({"stages": {"each@b": {"outs": [{"path": "b.npy"}]}}}))
    for out, stage in (("kept.npy", "a"), ("curves/c.csv", "a"), ("more/b.npy", "each")):
        refused(*GENERATE, "-o", out, words=f"the DVC stage {stage} makes")


def test_downloads_go_where_the_stages_look_for_them(checkout, mirror):
    main(["download-covid", "--mirror", str(mirror), *NOWHERE])
    main(["download-rvr", "--mirror", str(mirror), *NOWHERE])
    for folder in ("rvr", "rvr_beds", "rvr_flu"):
        assert sha256(f"data/raw/{folder}/series.csv") == sha256(mirror / rvr.FILE_NAME)
        assert read_json(f"data/raw/{folder}/provenance.json")["source"] == "mirror"
    assert sha256("data/raw/covid/series.csv") == sha256(mirror / covid.FILE_NAME)


def test_an_overlay_of_somebody_else_is_refused_before_the_first_trial(refused):
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    Path("mine.yaml").write_text("adam: {}\n")
    refused("tune", "adam", "--out", "mine.yaml", words="--out = mine.yaml: exists and is not as this program")
    refused("tune", "adam", "--out", "params.yaml", "--force", words="is an input of this command")


def test_a_sweep_writes_over_no_table_and_into_no_folder_of_somebody_else(refused, tmp_path):
    from transformer_spectrum.study.running.store import Store

    def check(*words: str, force: bool = False) -> None:
        store = Store(tmp_path / "out")
        if not words:
            store.check(force=force)
            return store.claim()
        with pytest.raises(InputError, match=words[0]):
            store.check(force=force)

    Path("out/trainings").mkdir(parents=True)
    Path("out/notes.txt").write_text("mine")  # no name of ours
    check("holds trainings, which no sweep has written")
    Path("out/trainings").rmdir()
    Path("out/table.csv").write_text("mine")
    check("holds table.csv, which no sweep has written or which was changed since")
    check(force=True)
    check()
    with Path("out/table.csv").open("a") as stream:
        stream.write("edited")
    check("holds table.csv")
    Path("out/table.csv").unlink()
    (tmp_path / "out/trainings").mkdir()
    check()
    Path("out/provenance.json").write_text('{"mine": 1}')
    check("holds trainings")


def test_a_study_keeps_what_others_put_among_its_results(tmp_path):
    from transformer_spectrum.runtime.files import atomic_folder
    from transformer_spectrum.study.running.store import fault, own_names, write_record

    cell = tmp_path / "cell"
    for request in ({"seed": 1}, {"seed": 2}):
        assert fault(cell, request)
        with atomic_folder(cell, own_names(cell)) as folder:
            (folder / f"{request['seed']}.bin").write_bytes(b"result")
            write_record(folder, request, {})
        assert not fault(cell, request)
        (cell / "notes.txt").write_text("mine")
        assert not fault(cell, request)
    assert sorted(path.name for path in cell.iterdir()) == ["2.bin", "notes.txt", "record.json"]


def test_a_training_prefers_downloaded_data_to_a_stand_in_of_the_pipeline(tmp_path):
    from transformer_spectrum.study.single_run import _raw_folder

    assert _raw_folder("rvr_beds") == Path("data/raw/rvr_beds")
    for name, standin in (("rvr", False), ("rvr_beds", True)):
        Path("data/raw", name).mkdir(parents=True)
        Path("data/raw", name, "provenance.json").write_text(json.dumps({"standin": standin}))
    assert _raw_folder("rvr_beds") == Path("data/raw/rvr")
    Path("data/raw/rvr_beds/provenance.json").write_text('{"standin": false}')
    assert _raw_folder("rvr_beds") == Path("data/raw/rvr_beds")
    assert _raw_folder("rvr_flu") == Path("data/raw/rvr")
