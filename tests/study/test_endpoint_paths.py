"""Endpoints of a made-up training, each computed a second time from its weights."""

import numpy as np
import pytest
from made_up import ROOT, layout, training

from transformer_spectrum.analysis.of_training.summary import summarize
from transformer_spectrum.config.load import load_params
from transformer_spectrum.study.endpoint_paths import endpoint_path
from transformer_spectrum.study.inference.endpoints import ENDPOINTS
from transformer_spectrum.study.inference.matching import match

SPECS = layout(16)
STEPS = 4
GROUPS = {"feed_forward": [], "attention": []}
for place, (_, family, _) in enumerate(SPECS):
    if family == "feed_forward" or family.endswith("attention"):
        GROUPS["feed_forward" if family == "feed_forward" else "attention"].append(place)


@pytest.fixture(scope="module")
def trained():
    history, snapshots = training("adam", STEPS, SPECS)
    few = {"bootstrap": 0, "shuffles": 5, "farms_size": 8, "overlap_rank": 2}
    params = load_params(ROOT / "params.yaml").spectra.model_copy(update=few)
    summary = summarize({"adam": history}, {"adam": snapshots}, params, heads=4, seed=7)["adam"]
    path = endpoint_path(
        history,
        snapshots,
        params,
        optimizer="adam",
        heads=4,
        name="adam-mse",
        method="gradient",
        dataset="light",
        seed=7,
        loss="mse",
    )
    return summary, snapshots, path


def balanced(function):
    """Mean over the matrices of each group, then of both."""
    return np.mean([np.mean([function(SPECS[place][0]) for place in places]) for places in GROUPS.values()])


def stable_rank(matrix):
    return np.linalg.norm(matrix) ** 2 / np.linalg.norm(matrix, 2) ** 2


def test_a_path_has_every_endpoint_and_stands_where_its_history_does(trained):
    summary, _, path = trained
    assert list(path.metrics) == [each.name for each in ENDPOINTS]
    assert path.along("validation_mae") == pytest.approx(summary.history.validation_mae)
    assert (path.name, path.seed, path.loss) == ("adam-mse", 7, "mse")


def test_endpoints_of_singular_values_are_those_of_the_weights_at_every_record(trained):
    _, snapshots, path = trained
    for step in range(1, STEPS + 1):
        change = {name: stack[step].astype(float) - stack[0] for name, stack in snapshots.weights.items()}
        start = {name: stack[0].astype(float) for name, stack in snapshots.weights.items()}
        expected = balanced(lambda name, change=change: np.log(stable_rank(change[name])))
        assert path.metric("change_log_stable_rank")[step] == pytest.approx(expected, rel=1e-4)
        ratios = {name: np.log(np.linalg.norm(change[name], 2) / np.linalg.norm(start[name], 2)) for name in change}
        assert path.metric("log_relative_norm")[step] == pytest.approx(balanced(ratios.__getitem__), rel=1e-4)
        moving = [SPECS[place][0] for places in GROUPS.values() for place in places]
        squares = [sum((part[name] ** 2).sum() for name in moving) for part in (change, start)]
        assert path.along("distance")[step] == pytest.approx((squares[0] / squares[1]) ** 0.5, rel=1e-4)
        assert path.metric("log_distance")[step] == pytest.approx(np.log(path.along("distance")[step]))
    assert np.isnan(path.metric("change_log_stable_rank")[0])


def test_the_path_endpoint_is_the_log_rank_less_that_of_the_draws_at_tracked_steps_alone(trained):
    summary, snapshots, path = trained
    values = path.metric("path_log_stable_rank")
    assert np.flatnonzero(np.isfinite(values)).tolist() == summary.tracked
    assert values[0] == pytest.approx(0.0, abs=1e-9)  # W_0 is its own null
    names = [name for name, *_ in SPECS]
    for position, record in enumerate(summary.tracked):
        draws = summary.evidence.nulls["path"][position].values["stable_rank"]

        def beyond(name, record=record, draws=draws):
            own = np.log(stable_rank(snapshots.weights[name][record].astype(float)))
            return own - np.log(draws[:, names.index(name)]).mean()

        assert values[record] == pytest.approx(balanced(beyond), abs=1e-6)


def test_circuits_and_overlaps_are_means_over_heads_and_matrices(trained):
    summary, _, path = trained
    last = summary.tracked[-1]
    circuits = summary.evidence.circuits[-1]
    entropies = circuits.observed[True].values["spectral_entropy"]
    for kind in ("query_key", "output_value"):
        chosen = [value for circuit, value in zip(circuits.circuits, entropies, strict=True) if circuit.kind == kind]
        assert path.metric(f"{kind}_spectral_entropy")[last] == pytest.approx(np.mean(chosen))
    overlaps = dict(zip([name for name, *_ in SPECS], summary.evidence.overlaps[-1].left, strict=True))
    assert 0 < path.metric("overlap_left")[last] == pytest.approx(balanced(overlaps.__getitem__))


def test_a_path_can_be_matched_though_nulls_are_at_some_records_alone(trained):
    _, _, path = trained
    table = match([path], {"evaluations": float(path.along("evaluations")[2:4].mean())}, axes=["evaluations"])
    values = table.set_index("endpoint")["value"]
    assert np.isfinite(values[["change_log_stable_rank", "path_log_stable_rank", "mp_spikes"]]).all()
