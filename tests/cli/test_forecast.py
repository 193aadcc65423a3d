"""Forecasts of a user's series by a trained run."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_runs import SMALL

from transformer_spectrum.analysis.loading import load
from transformer_spectrum.cli.main import main
from transformer_spectrum.data.files.series_files import read_series_file


def test_a_csv_is_forecast_in_its_own_layout_and_units_from_its_last_steps(trained, tmp_path, quick_pictures):
    quick_pictures.undo()
    days = pd.date_range("2024-01-01", periods=20)
    generator = np.random.default_rng(1)
    blocks = [
        pd.DataFrame({"entity": name, "date": days.strftime("%Y-%m-%d"), "cases": 50 + 9 * generator.normal(size=20)})
        for name in ("here", "there")
    ]
    path, out = tmp_path / "cases.csv", tmp_path / "next.csv"
    pd.concat(blocks).to_csv(path, index=False)
    main(["forecast", str(trained), "-d", str(path), "-o", str(out)])
    made = pd.read_csv(out)
    assert list(made.columns) == ["entity", "date", "cases"]
    assert made.groupby("entity")["date"].agg(["min", "max", "size"]).loc["here"].tolist() == [
        "2024-01-21",
        "2024-01-28",
        8,
    ]
    model = load(trained / "model").model
    import torch

    for block in blocks:
        last = block["cases"].to_numpy()[-16:]
        scaled = torch.tensor((last - last.mean()) / last.std(), dtype=torch.float32).reshape(1, 16, 1)
        expected = model.forecast(scaled, 8).numpy().ravel() * last.std() + last.mean()
        found = made[made["entity"] == block["entity"].iloc[0]]["cases"]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.width > 600
        assert len(picture.convert("L").getcolors()) > 20


def test_a_wide_file_is_read_and_arrays_can_be_written(trained, tmp_path):
    pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)), columns=list("abc")).to_csv(
        tmp_path / "w.csv", index=False
    )
    arguments = ["forecast", str(trained / "model/best.safetensors"), "-d", str(tmp_path / "w.csv")]
    main([*arguments, "-o", str(tmp_path / "f.npz"), "--plot", str(tmp_path / "p.png")])
    held = read_series_file(tmp_path / "f.npz")
    assert [one.entity for one in held.series] == ["a", "b", "c"]
    assert all(one.values.shape == (8, 1) for one in held.series)
    assert (tmp_path / "p.png").is_file()


def test_series_that_cannot_be_forecast_are_left_out_with_the_reason(trained, tmp_path, capsys):
    values = np.random.default_rng(0).normal(size=(20, 4))
    values[:, 1] = 3.0
    values[-4, 2] = np.nan
    values[:10, 3] = np.nan
    pd.DataFrame(values, columns=["good", "flat", "gap", "short"]).to_csv(tmp_path / "w.csv", index=False)
    main(["forecast", str(trained), "-d", str(tmp_path / "w.csv"), "-o", str(tmp_path / "f.csv")])
    said = capsys.readouterr().err
    assert "flat is left out: constant in the last 16 steps" in said
    assert "gap is left out: missing values in the last 16 steps" in said
    assert "short is left out: 10 steps of the 16 that the model needs" in said
    assert set(pd.read_csv(tmp_path / "f.csv")["entity"]) == {"good"}


@pytest.mark.parametrize(
    ("content", "out", "words"),
    [
        ("x\n1\n2\n", "f.csv", "no series can be forecast; 2 steps of the 16"),
        ("entity,a,b\nx,1,2\nx,2,3\n", "f.csv", "features: 2 (a, b); the model has 1"),
        ("x\n1\n2\n", "f.txt", "must end in .npy"),
    ],
)
def test_what_the_model_cannot_forecast_at_all_is_bad_input(content, out, words, trained, tmp_path, capsys):
    (tmp_path / "d.csv").write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["forecast", str(trained), "-d", str(tmp_path / "d.csv"), "-o", str(tmp_path / out)])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_a_series_without_a_range_between_quartiles_is_left_out_where_that_is_the_scale(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    np.save("data.npy", generator.normal(size=(40, 60)).cumsum(axis=1))
    main(["train", "-d", "data.npy", *SMALL, "--epochs", "1", "-n", "robust", "--set", "data.scaling=robust"])
    (run,) = tmp_path.glob("runs/robust/*")
    values = generator.normal(size=(40, 2))
    values[:, 1] = 1.0
    values[-1, 1] = 2.0
    pd.DataFrame(values, columns=["good", "nearly_flat"]).to_csv("w.csv", index=False)
    capsys.readouterr()
    main(["forecast", str(run), "-d", "w.csv", "-o", "f.csv"])
    assert "nearly_flat is left out: an interquartile range of 0 in the last" in capsys.readouterr().err
    assert set(pd.read_csv("f.csv")["entity"]) == {"good"}
