"""One contract, every data set that data.dataset can name."""

from typing import get_args

import numpy as np
import pytest
import yaml

from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.schema import DataParams
from transformer_spectrum.data.series.catalogue import CATALOGUE
from transformer_spectrum.data.windows.cutting import make_windows
from transformer_spectrum.runtime.files import read_json
from transformer_spectrum.vocabulary import DATA_SETS

MADE = [name for name, data_set in CATALOGUE.items() if data_set.stage]
every = pytest.mark.parametrize("name", CATALOGUE)
every_made = pytest.mark.parametrize("name", MADE)


@pytest.fixture(scope="module")
def raw(finished):
    """The raw data of a pipeline that has run, of stand-ins where it downloads."""
    return finished.root / "data/raw"


@pytest.fixture(scope="module")
def params(finished):
    return load_params(finished.root / "params.yaml")


def test_every_data_set_that_can_be_asked_for_is_in_the_catalogue():
    assert set(get_args(DataParams.model_fields["dataset"].annotation)) == set(CATALOGUE) == set(DATA_SETS)


@every
def test_a_data_set_has_parameters_a_unit_and_a_licence(name, params):
    block = getattr(params.data, name)
    assert block.season >= 1
    assert DATA_SETS[name].unit.format_map(block.model_dump())
    assert DATA_SETS[name].licence


@every_made
def test_its_stage_writes_its_raw_data_with_their_provenance(name, pytestconfig, raw):
    stages = yaml.safe_load((pytestconfig.rootpath / "dvc.yaml").read_text())["stages"]
    outs = [path for out in stages[CATALOGUE[name].stage]["outs"] for path in (out if isinstance(out, dict) else [out])]
    made = {f"data/raw/{name}/{path.name}" for path in (raw / name).iterdir()}
    assert made == {path for path in outs if path.startswith(f"data/raw/{name}/")}
    about = read_json(raw / name / "provenance.json")
    assert {"source", "standin", "location", "sha256", "bytes", "rows", "notes"} <= set(about)


@every_made
def test_its_series_can_be_cut_into_windows(name, raw, params):
    read = CATALOGUE[name].read
    series, report = read(raw / name, getattr(params.data, name))
    assert len(series) >= 3
    assert len({one.entity for one in series}) == len(series)
    assert len({one.values.shape[1] for one in series}) == 1
    assert all(one.values.dtype == np.float64 and one.values.ndim == 2 for one in series)
    assert isinstance(report, dict)
    again, _ = read(raw / name, getattr(params.data, name))
    assert all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in zip(series, again, strict=True))
    splits, _ = make_windows(
        series,
        length=48,
        horizon=12,
        stride=48,
        by="entity",
        validation=0.2,
        test=0.2,
        scaling="standard",
        generator=np.random.default_rng(0),
    )
    assert all(len(windows) > 0 and np.isfinite(windows.context).all() for windows in splits.values())
