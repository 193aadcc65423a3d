"""generate-synthetic, download-* and process-*: files that `train --dataset` takes, by the rules of the stages."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from transformer_spectrum.cli.main import main
from transformer_spectrum.data.files.series_files import read_series_file
from transformer_spectrum.data.series import covid, rvr
from transformer_spectrum.data.series.aggregates import is_sum_of_jurisdictions
from transformer_spectrum.data.series.covid import read_covid, trailing_mean
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, sha256

PIPELINE = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())
NOWHERE = ("--set", "data.covid.url=http://127.0.0.1:9/c.csv", "--set", "data.rvr.url=http://127.0.0.1:9/r.csv")

pytestmark = pytest.mark.usefixtures("elsewhere")


SIZE = ("--n-sequences", "30", "--seq-len", "50")


def test_the_series_are_those_that_the_stage_would_draw(tmp_path):
    from transformer_spectrum.config.resolve import Asked, resolve
    from transformer_spectrum.data.synthesis.drawing import draw_synthetic

    main(["generate-synthetic", "-o", "a.npy", *SIZE, "--seed", "7", "--sigma", "2", "--lambda", "0.3", "--q", "4"])
    flags = {"seed": 7, "data.synthetic.sigma": 2.0, "data.synthetic.lam": 0.3, "data.synthetic.q": 4.0}
    flags |= {"data.synthetic.series": 30, "data.synthetic.length": 50, "data.dataset": "file"}
    draw_synthetic(resolve(Asked({name: (value, "x") for name, value in flags.items()})).params, tmp_path / "raw")
    np.testing.assert_array_equal(np.load("a.npy"), np.load("raw/series.npy"))
    about = read_json("a.npy.provenance.json")
    assert (about["source"], about["standin"], about["seed"]) == ("synthetic", False, 7)
    assert about["sha256"] == sha256("a.npy")


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "parquet"])
def test_every_kind_of_file_holds_the_same_series_and_features(suffix):
    main(["generate-synthetic", "-o", "a.npy", *SIZE, "--features", "2"])
    main(["generate-synthetic", "-o", f"b.{suffix}", *SIZE, "--features", "2"])
    held = read_series_file(f"b.{suffix}")
    np.testing.assert_array_equal(np.stack([one.values for one in held.series]), np.load("a.npy"))


def test_smoothing_can_be_chosen_and_each_option_has_an_effect():
    def drawn(*options):
        main(["generate-synthetic", "-o", "a.npy", *SIZE, "--seed", "1", *options])
        return np.load("a.npy")

    rough = drawn("--no-smooth")
    smooth = drawn("--smooth")
    np.testing.assert_array_equal(smooth, drawn())
    gaussian = drawn("--smooth", "--set", "data.synthetic.kernel.type=none")
    lag_one = [float((x[:, 1:] * x[:, :-1]).mean() / (x**2).mean()) for x in (rough, smooth, gaussian)]
    assert abs(lag_one[0]) < 0.1 < 0.8 < min(lag_one[1:])
    plain = ("--no-smooth",)
    for option, value in (("--sigma", "3"), ("--lambda", "0.5"), ("--p", "1.5"), ("--q", "3"), ("--seed", "2")):
        assert not np.array_equal(drawn(*plain, option, value), rough), option
    assert not np.array_equal(drawn("--smooth", "--kernel-size", "5"), smooth)


def test_a_download_comes_from_the_mirror_unchanged_into_a_folder_or_a_file(mirror):
    main(["download-covid", "-o", "raw", "--mirror", str(mirror), *NOWHERE])
    assert Path("raw/series.csv").read_bytes() == (mirror / covid.FILE_NAME).read_bytes()
    assert read_json("raw/provenance.json")["source"] == "mirror"
    main(["download-rvr", "-o", "rvr.csv", "--mirror", str(mirror), *NOWHERE])
    assert Path("rvr.csv").read_bytes() == (mirror / rvr.FILE_NAME).read_bytes()
    assert read_json("rvr.csv.provenance.json")["sha256"] == sha256("rvr.csv")
    main(["download-covid", "-o", "raw", "--mirror", str(mirror), *NOWHERE])  # replaced, nothing else was in it


def test_a_folder_that_holds_anything_else_is_not_replaced(mirror, capsys):
    Path("raw").mkdir()
    Path("raw/thesis.tex").write_text("years")
    with pytest.raises(SystemExit) as ended:
        main(["download-covid", "-o", "raw", "--mirror", str(mirror), *NOWHERE])
    assert ended.value.code == 2
    assert "holds thesis.tex too" in capsys.readouterr().err
    assert Path("raw/thesis.tex").read_text() == "years"


def test_out_of_reach_means_a_loud_stand_in_or_a_failure(capsys):
    main(["download-covid", "-o", "raw", *NOWHERE, "--standin-seed", "3"])
    assert "a STAND-IN, simulated, not data" in capsys.readouterr().err
    assert read_json("raw/provenance.json")["standin"] is True
    main(["process-covid", "-i", "raw", "-o", "series.npz"])
    assert "made of a STAND-IN" in capsys.readouterr().err
    assert read_json("series.npz.provenance.json")["standin"] is True
    with pytest.raises(SystemExit) as ended:
        main(["download-rvr", "-o", "rvr", *NOWHERE, "--on-unreachable", "fail"])
    assert ended.value.code == 2
    assert not Path("rvr").exists()


def test_processed_cases_are_the_smoothed_series_of_the_countries_with_their_days(mirror):
    main(["download-covid", "-o", "raw", "--mirror", str(mirror), *NOWHERE])
    main(["process-covid", "-i", "raw", "-o", "series.csv", "--smoothing-days", "3"])
    table = read_covid("raw/series.csv")
    made = pd.read_csv("series.csv")
    assert set(made["entity"]) == {"France", "Italy"}
    one = made[made["entity"] == "Italy"].set_index("date")["value"]
    first = table["Italy"][table["Italy"] > 0].index[0]
    expected = trailing_mean(table["Italy"][first:].to_numpy(), 3)[: len(one)]
    np.testing.assert_allclose(one, expected)
    assert one.index[0] == str(first.date())
    about = read_json("series.csv.provenance.json")
    assert about["raw"]["sha256"] == sha256("raw/series.csv")
    assert about["sha256"] == sha256("series.csv")
    assert about["left_out"]["countries_missing"]
    assert about["settings"] == {"smoothing_days": 3}


def test_countries_that_are_left_out_are_named_in_the_line_that_is_printed(mirror, capsys):
    listed = ["Italy", "Atlantis", "World", "Europe", "France", *(f"Nowhere {i}" for i in range(9))]
    names = ("--set", f"data.covid.countries={json.dumps(listed)}")
    main(["download-covid", "-o", "raw", "--mirror", str(mirror), *NOWHERE, *names])
    missing = "Atlantis, Nowhere 0, Nowhere 1, Nowhere 2, Nowhere 3 and 5 more"
    said = f"left out: not in the table: {missing}; sums of others: "
    assert f"of the 14 in data.covid.countries, {said}World, Europe\n" in capsys.readouterr().err
    main(["process-covid", "-i", "raw", "-o", "series.csv", *names])
    assert f"series.csv: 2 series, source: mirror; {said}World, Europe\n" in capsys.readouterr().err
    main(["process-covid", "-i", "raw", "-o", "series.csv", "--set", "data.covid.countries=[Italy, France]"])
    assert "series.csv: 2 series, source: mirror\n" in capsys.readouterr().err


def test_processed_hospitals_are_one_column_of_every_state(mirror):
    main(["download-rvr", "-o", "rvr.csv", "--mirror", str(mirror), *NOWHERE])
    files = {}
    for column in ("beds", "influenza"):
        main(["process-rvr", "-i", "rvr.csv", "-o", f"{column}.parquet", "--column", column])
        files[column] = read_series_file(f"{column}.parquet")
    assert {one.entity for one in files["beds"].series} >= rvr.STATES
    assert not any(is_sum_of_jurisdictions(one.entity) for one in files["beds"].series)
    assert not np.array_equal(files["beds"].series[0].values, files["influenza"].series[0].values)
    settings = read_json("influenza.parquet.provenance.json")["settings"]
    assert settings == {"column": "total_admissions_all_influenza_confirmed_past_7days"}


def test_downloads_and_processings_find_each_other_without_a_path(mirror):
    main(["download-covid", "--mirror", str(mirror), *NOWHERE])
    main(["process-covid"])
    assert read_json("data/series/covid.csv.provenance.json")["raw"]["sha256"] == sha256("data/raw/covid/series.csv")
    main(["download-rvr", "--mirror", str(mirror), *NOWHERE])
    for column, dataset in (("beds", "rvr_beds"), ("influenza", "rvr_flu")):
        main(["process-rvr", "--column", column])
        assert read_series_file(f"data/series/{dataset}.csv").series
    outs = [out for stage in PIPELINE["stages"].values() for out in stage["outs"]]
    folders = [Path(out if isinstance(out, str) else next(iter(out))) for out in outs]
    assert Path("data/raw/covid/series.csv") in folders
    assert not any(Path("data/series").is_relative_to(folder) for folder in folders)  # DVC would remove them


def test_a_download_is_where_a_training_on_hospital_beds_looks_for_it(mirror, capsys):
    from transformer_spectrum.config.resolve import Asked, resolve
    from transformer_spectrum.study.single_run import begin

    settings = resolve(Asked({}, ("data.describe.fit_points=200",), dataset="rvr_beds"))
    with pytest.raises(InputError, match="run transformer-spectrum download-rvr first"):
        begin(settings, "adam", name="beds", root=Path("runs"))
    assert not list(Path("runs").rglob("*"))
    main(["download-rvr", "--mirror", str(mirror), *NOWHERE])
    folder = begin(settings, "adam", name="beds", root=Path("runs"))
    assert read_json(folder.data / "provenance.json")["sha256"] == sha256("data/raw/rvr/series.csv")
    assert read_json(folder.description)["dataset"] == "rvr_beds"


def test_raw_data_that_were_changed_after_the_download_are_refused(mirror, capsys):
    main(["download-covid", "-o", "raw", "--mirror", str(mirror), *NOWHERE])
    path = Path("raw/series.csv")
    path.write_text(path.read_text().replace(",1", ",2"))
    with pytest.raises(SystemExit):
        main(["process-covid", "-i", "raw", "-o", "series.csv"])
    assert "is of other bytes" in capsys.readouterr().err
    assert not Path("series.csv").exists()


def test_the_pipelines_data_set_file_takes_the_only_file_of_its_folder(tmp_path, capsys):
    from transformer_spectrum.config.resolve import Asked, resolve
    from transformer_spectrum.data.prepare import prepare

    flags = {"data.dataset": "file", "data.sequence_length": 24, "data.output_length": 12}
    params = resolve(Asked({name: (value, "x") for name, value in flags.items()})).params
    run = partial(prepare, params, tmp_path / "raw/file", tmp_path / "processed", tmp_path / "data.json")
    (tmp_path / "raw/file").mkdir(parents=True)
    with pytest.raises(InputError, match=r"0 files of series; data\.dataset = file needs one"):
        run()
    main(["generate-synthetic", "-o", "raw/file/mine.csv", *SIZE])
    run()
    assert json.loads((tmp_path / "processed/provenance.json").read_text())["source"] == "synthetic"
    assert json.loads((tmp_path / "data.json").read_text())["dataset"] == "file"
