"""The larger protocol for a GPU, at its own width: all of its arms for one epoch, from tuning to the report."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors import safe_open
from study_steps import STEPS
from unchanged import shortened

from transformer_spectrum.study.answer.places import StudyPlaces

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def short_protocol():
    """One epoch of three batches, two generations, one seed, one rate, one layer; on the CPU; equal evaluations first.

    So short a training reaches no validation MAE that another has, and margins need pairs at the first axis.
    """
    protocol = shortened(yaml.safe_load((ROOT / "studies/protocol_gpu.yaml").read_text()), 1, 2, 1)
    protocol["axes"] = ["evaluations", "distance", "updates"]
    settings = protocol["set"]
    settings["device"] = "cpu"
    settings["data"]["synthetic"]["series"] = 100
    settings["es"]["popsize"] = 4
    settings["model"]["layers"] = 1
    settings["training"]["snapshot_every"] = 1
    settings["spectra"] = {"shuffles": 3, "tracked_every": 1, "tracked_at_most": 4}
    for plan in protocol["optimizers"].values():
        plan["rates"] = plan["rates"][1:2]
        plan["set"].get("training", {}).pop("record_every", None)
    for name in protocol["tuning_blocks"]:
        protocol["blocks"][name]["datasets"] = ["light"]
    protocol["blocks"]["tuning_margins"]["seeds"]["count"] = 2
    return protocol


def test_every_arm_is_trained_measured_judged_and_reported(repository):
    protocol = short_protocol()
    Path("studies/protocol_gpu.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    places = StudyPlaces.of("studies/protocol_gpu.yaml")
    for step in STEPS:
        step(places)
    cells = pd.read_csv(places.cells)
    assert set(cells["status"]) == {"done"}
    arms = {f"{optimizer}-{loss}" for optimizer in protocol["optimizers"] for loss in protocol["losses"]}
    crossed = cells[cells["block"] == "crossed"]
    assert set(crossed["arm"]) == arms
    assert len(crossed) == len(arms) * len(protocol["datasets"])
    for path in places.store.glob("trainings/**/model.safetensors"):
        with safe_open(path, framework="np") as weights:
            widths = {max(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
        assert max(widths) == 512
    endpoints = pd.read_parquet(places.endpoints)
    measured = endpoints[(endpoints["axis"] == "evaluations") & (endpoints["endpoint"] == "change_log_stable_rank")]
    assert measured["value"].notna().all()
    verdicts = json.loads(places.verdicts.read_text())
    judged = {verdict["contrast"]["name"] for verdict in (*verdicts["contrasts"], *verdicts["controls"])}
    assert judged == {contrast["name"] for contrast in protocol["contrasts"]}
    shares = pd.read_csv(places.variance)
    assert set(shares["block"]) == {"crossed"}
    assert shares["reason"].notna().all()  # of one seed nothing can be attributed, which is said
    assert len(pd.read_csv(places.cells.with_name("nulls.csv"))["arm"].unique()) == len(arms) + 1
    assert (places.report / "index.html").stat().st_size > 10_000
