"""Windows as a file may hold them that no stage has written."""

import numpy as np
import pytest

from transformer_spectrum.data.windows.arrays import SPLITS, Windows, pack
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_arrays
from transformer_spectrum.training.setup import read_windows


def arrays(windows=4, context=6, horizon=2, features=1):
    generator = np.random.default_rng(0)
    place = (windows, 1, features)
    split = Windows(
        generator.normal(size=(windows, context, features)).astype(np.float32),
        generator.normal(size=(windows, horizon, features)).astype(np.float32),
        generator.normal(size=place),
        generator.uniform(1, 2, size=place),
        np.array([str(number) for number in range(windows)]),
        np.zeros(windows, dtype=np.int64),
    )
    return pack(dict.fromkeys(SPLITS, split))


def with_nan(values):
    values = values.copy()
    values.flat[0] = np.nan
    return values


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("train_location", with_nan, "train_location: must be finite"),
        ("test_scale", with_nan, "test_scale: must be finite"),
        ("validation_scale", lambda values: values * 0, "validation_scale: must be > 0"),
        ("train_target", lambda values: values[:2], "train_target: has 2 windows of 4"),
        ("test_context", lambda values: values[:0], "test_context: has 0 windows of 0"),
        ("train_context", lambda values: values[..., 0], "train_context: must be numbers"),
        ("train_target", lambda values: np.concatenate([values, values], axis=2), "train_target: must be numbers"),
        ("test_location", lambda values: values.astype(str), "test_location: must be numbers"),
        ("test_context", lambda values: values[:, :3], "its splits have windows of different shapes"),
    ],
)
def test_windows_that_no_stage_has_written_are_refused(name, change, rule, tmp_path):
    content = arrays()
    write_arrays(tmp_path / "windows.npz", {**content, name: change(content[name])})
    with pytest.raises(InputError, match=rf"windows\.npz: {rule}.*; run the stage that writes it again"):
        read_windows(tmp_path / "windows.npz")


def test_windows_are_read_as_they_were_written(tmp_path):
    content = arrays()
    write_arrays(tmp_path / "windows.npz", content)
    for name, values in pack(read_windows(tmp_path / "windows.npz")).items():
        np.testing.assert_array_equal(values, content[name])
