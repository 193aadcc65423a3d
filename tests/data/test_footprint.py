"""Memory that a user's file and its windows take: what cannot fit is refused before it is read."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.config.load import load_params, parse_params, read_tree
from transformer_spectrum.config.tree import put
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.data.files import footprint
from transformer_spectrum.data.files.series_files import read_series_file
from transformer_spectrum.data.prepare import prepare, windows_footprint
from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.data.synthesis.drawing import draw_synthetic, drawing_footprint
from transformer_spectrum.data.windows.cutting import make_windows
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import Free

LITTLE = Free(2**20, "of this machine")
DAYS = pd.date_range("2000-01-01", periods=400).strftime("%Y-%m-%d")


def long(count=60):
    generator = np.random.default_rng(0)
    entities = np.repeat([f"country {i}" for i in range(count)], len(DAYS))
    values = generator.normal(size=count * len(DAYS))
    return pd.DataFrame({"entity": entities, "date": np.tile(DAYS, count), "cases": values})


def written(tmp_path, suffix):
    path = tmp_path / f"series.{suffix}"
    numbers = np.random.default_rng(0).normal(size=(400, 500)).cumsum(axis=1)
    if suffix == "csv":
        long().to_csv(path, index=False)
    elif suffix == "parquet":
        long().to_parquet(path, index=False)
    elif suffix == "npy":
        np.save(path, numbers)
    else:
        np.savez_compressed(path, series=np.round(numbers))
    return path


def test_lists_in_cells_are_counted_by_their_values(tmp_path):
    path = tmp_path / "lists.parquet"
    long(1).assign(cases=[np.zeros(20_000)] * len(DAYS)).to_parquet(path, index=False)
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match=r"lists\.parquet: reading it would take about \d+ MiB, and 1 MiB are free"):
        footprint.check_file_fits(path, LITTLE)
    assert footprint.file_footprint(path).size >= 8 * 20_000 * len(DAYS)


@pytest.mark.parametrize("suffix", ["csv", "npy", "npz"])
def test_the_estimate_is_near_what_python_and_numpy_allocate(suffix, tmp_path):
    path = written(tmp_path, suffix)
    read_series_file(path)  # what is imported and cached at the first call is not the file's
    tracemalloc.start()
    try:
        read_series_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.6 < footprint.file_footprint(path).size / peak < 1.8


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npy", "npz"])
def test_a_file_that_cannot_fit_is_refused_before_it_is_read(suffix, tmp_path, monkeypatch):
    path = written(tmp_path, suffix)
    monkeypatch.setattr(footprint, "free_memory", lambda: LITTLE)
    with pytest.raises(InputError, match=r"reading it would take about \d+ MiB, and 1 MiB are free of this machine; "):
        read_series_file(path)


def test_what_is_packed_counts_as_what_it_becomes(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", series=np.zeros((1000, 1000)))
    assert (tmp_path / "zeros.npz").stat().st_size < 2**20
    assert footprint.file_footprint(tmp_path / "zeros.npz").size > 8e6


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 100])
def test_a_file_that_cannot_be_parsed_is_left_to_who_reads_it(suffix, content, tmp_path):
    path = tmp_path / f"series.{suffix}"
    path.write_bytes(content)
    footprint.check_file_fits(path, LITTLE)


@pytest.mark.parametrize("by", ["entity", "time"])
@pytest.mark.parametrize("stride", [None, 1, 7])
def test_windows_are_counted_as_they_are_cut(by, stride, pytestconfig):
    tree = read_tree(pytestconfig.rootpath / "params.yaml")
    for name, value in {"data.stride": stride, "data.split.by": by}.items():
        put(tree, name, value)
    data = parse_params(tree).data
    generator = np.random.default_rng(0)
    lengths, starts = (1000, 1100, 299, 1001, 940), (0, 5, 17, 300, 2)
    series = [
        Series(str(steps), start, generator.normal(size=(steps, 2)))
        for steps, start in zip(lengths, starts, strict=True)
    ]
    _, counts = make_windows(
        series,
        length=data.window_length,
        horizon=data.horizon,
        stride=stride,
        by=by,
        validation=data.split.validation,
        test=data.split.test,
        scaling=data.scaling,
        generator=generator,
    )
    cut = sum(counts[split]["cut"] for split in ("train", "validation", "test"))
    assert windows_footprint(series, data).size == 5 * 8 * cut * data.window_length * 2


def test_windows_that_cannot_fit_are_refused_and_leave_nothing(pytestconfig, tmp_path, monkeypatch):
    params = load_params(pytestconfig.rootpath / "params.yaml")
    params = params.model_copy(update={"data": params.data.model_copy(update={"dataset": "file", "stride": 1})})
    np.save(tmp_path / "series.npy", np.random.default_rng(0).normal(size=(20, 2000)))
    monkeypatch.setattr("transformer_spectrum.data.prepare.free_memory", lambda: LITTLE)
    words = r"windows of file would take about \d+ MiB, and 1 MiB are free of this machine; .* make data\.stride larger"
    with pytest.raises(InputError, match=words):
        prepare(params, tmp_path / "series.npy", tmp_path / "processed", tmp_path / "data.json")
    assert [path.name for path in tmp_path.iterdir()] == ["series.npy"]


def test_series_without_a_window_take_nothing(pytestconfig):
    data = load_params(pytestconfig.rootpath / "params.yaml").data
    assert windows_footprint([Series("short", 0, np.zeros((5, 1)))], data).size == 0


def test_what_is_to_be_drawn_is_estimated_and_refused_by_what_to_change(tmp_path):
    def params_with(**changes):
        tree = read_tree(packaged("params.yaml"))
        for name, value in changes.items():
            put(tree, f"data.synthetic.{name.replace('__', '.')}", value)
        return parse_params(tree)

    params = params_with(series=2000, kernel__size=200_000)
    tracemalloc.start()
    draw_synthetic(params, tmp_path / "raw")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.7 < drawing_footprint(params.data.synthetic).size / peak < 1.5
    for changes, words in (
        ({"series": 10**12}, "are draws: make data.synthetic.series, data.synthetic.length or"),
        ({"kernel__size": 10**13}, "are taps of the kernel: make data.synthetic.kernel.size smaller"),
    ):
        with pytest.raises(InputError, match="would take about") as refused:
            draw_synthetic(params_with(**changes), tmp_path / "other")
        assert words in str(refused.value)
    assert not (tmp_path / "other").exists()
