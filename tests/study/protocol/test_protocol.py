"""The protocol: what it refuses, what its hash holds, and what it asks for."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.tree import merge, put
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.answer.plan_text import provisional
from transformer_spectrum.study.conclusions.attributed import crossed_blocks
from transformer_spectrum.study.inference.endpoints import ENDPOINTS
from transformer_spectrum.study.inference.robustness import Judgement
from transformer_spectrum.study.protocol.cells import cells_of, rate_of
from transformer_spectrum.study.protocol.model import EXAMPLE, load_protocol, parse_protocol
from transformer_spectrum.study.protocol.standing import standing

ROOT = Path(__file__).parents[3]
COMMITTED = yaml.safe_load((ROOT / "studies/protocol.yaml").read_text())
TUNING = {"rates": {"adam-mse": 0.002}, "targets": {"light": 0.8}, "margins": {"change_log_stable_rank": 0.1}}


def example(**changes):
    return merge(copy.deepcopy(dict(EXAMPLE)), changes)


def base():
    return load_params(ROOT / "params.yaml")


@pytest.mark.parametrize("name", ["protocol", "protocol_gpu"])
def test_the_committed_protocols_are_valid_and_name_every_endpoint(name):
    protocol = load_protocol(ROOT / f"studies/{name}.yaml")
    named = {*protocol.endpoints.primary, *protocol.endpoints.secondary, *protocol.endpoints.exploratory}
    assert named == {each.name for each in ENDPOINTS}
    assert protocol.axes[0] == "validation_mae"
    assert {protocol.blocks[name].seeds.first for name in protocol.blocks if name in protocol.tuning_blocks} == {1001}


def test_every_cell_of_the_committed_protocol_has_legal_parameters_once_it_is_tuned():
    plan = COMMITTED["optimizers"]
    rates = {f"{name}-{loss}": plan[name]["rates"][1] for name in plan for loss in COMMITTED["losses"]}
    tuning = {"rates": rates, "targets": {"light": 0.8}, "margins": {}}
    protocol = parse_protocol({**COMMITTED, "tuning": tuning})
    counts = {block: len(cells_of(protocol, block, base())) for block in protocol.blocks}
    assert counts["optimizers"] == 7 * 12
    assert (counts["losses"], counts["losses_one_rate"]) == (2 * 5 * 20, 2 * 5 * 12)
    assert counts["controls"] == 9 * 12
    assert counts["crossed"] == 3 * 3 * 2 * 2 * 6


def test_the_protocol_for_a_gpu_crosses_five_optimizers_with_three_losses_and_two_data_sets_wherever_it_runs():
    protocol = provisional(load_protocol(ROOT / "studies/protocol_gpu.yaml"))
    cells = cells_of(protocol, "crossed", base())
    assert len(cells) == 5 * 3 * 2 * 20
    assert {(cell.params.model.embed_dim, cell.params.model.feedforward_dim) for cell in cells} == {(128, 512)}
    assert {cell.params.device for cell in cells} == {"auto"}
    assert crossed_blocks(protocol) == ["crossed"]


def test_a_full_batch_holds_all_windows_of_the_training_split(tmp_path):
    tuning = {"rates": {"adam-mse": 0.001}, "targets": {"light": 0.8}, "margins": {}}
    cells = cells_of(parse_protocol({**COMMITTED, "tuning": tuning}), "controls", base())
    (cell,) = [cell for cell in cells if cell.arm.name == "adam-mse-full_batch" and cell.seed == 1]
    draw_synthetic(cell.params, tmp_path / "raw")
    prepare(cell.params, raw=tmp_path / "raw", processed=tmp_path / "processed", metrics=tmp_path / "data.json")
    windows = json.loads((tmp_path / "data.json").read_text())["train"]["windows"]
    assert cell.params.training.batch_size == windows


def test_the_controls_say_what_has_to_come_out():
    controls = {control.contrast: control for control in load_protocol(ROOT / "studies/protocol.yaml").controls}
    assert controls["A/A"].expected is Judgement.NULL
    assert controls["10 x MSE"].expected is Judgement.NULL
    assert controls["learning rate x 3"].expected is Judgement.FOUND


def test_the_hash_is_of_the_content_and_not_of_its_layout():
    protocol = parse_protocol(example())
    shuffled = dict(reversed(list(example().items())))
    assert parse_protocol(shuffled).sha256 == protocol.sha256
    assert parse_protocol({**example(), "tuning": None}).sha256 == protocol.sha256
    for changed in ({"level": 0.01}, {"blocks": {"controls": {"seeds": {"count": 13}}}}, {"set": {"threads": 2}}):
        assert parse_protocol(example(**changed)).sha256 != protocol.sha256


def test_tuning_changes_the_hash_but_not_that_of_the_design():
    before, after = parse_protocol(example()), parse_protocol(example(tuning=TUNING))
    assert before.sha256 != after.sha256
    assert before.design_sha256 == after.design_sha256


def test_results_under_another_protocol_confirm_nothing():
    protocol = parse_protocol(example(tuning=TUNING))
    changed = parse_protocol(example(tuning=TUNING, level=0.01))
    assert standing(protocol, [protocol.sha256] * 3).confirmatory
    result = standing(changed, [changed.sha256, protocol.sha256])
    assert (result.confirmatory, result.foreign) == (False, (protocol.sha256,))
    assert protocol.sha256[:8] in result.reason
    untuned = parse_protocol(example())
    assert "tuning seeds" in standing(untuned, [untuned.sha256]).reason
    assert not standing(protocol, []).confirmatory


def test_an_arm_trains_at_its_rate_and_under_its_treatment():
    treatments = {"rate3": {"rate_factor": 3.0}, "again": {"batch_order": 1}, "mse10": {"loss_factor": 10.0}}
    block = {"treatments": ["none", "decay", *treatments]}
    protocol = parse_protocol(example(treatments=treatments, blocks={"controls": block}, tuning=TUNING))
    cells = {cell.arm.name: cell for cell in cells_of(protocol, "controls", base()) if cell.seed == 1}
    assert cells["adam-mse"].params.adam.learning_rate == 0.002
    assert cells["adam-mse-rate3"].params.adam.learning_rate == pytest.approx(0.006)
    assert cells["adam-mse-decay"].params.adam.weight_decay == 0.1
    assert cells["adam-mse"].params.training.batch_seed is None
    assert cells["adam-mse-again"].params.training.batch_seed >= 2**31  # which no seed of a protocol reaches
    assert cells["adam-mse-mse10"].params.loss.factor == 10.0
    again = cells["adam-mse-again"].params
    usual = again.model_copy(update={"training": again.training.model_copy(update={"batch_seed": None})})
    assert usual == cells["adam-mse"].params


def test_another_batch_order_of_a_population_method_is_refused_as_it_would_be_the_same_training():
    optimizers = {"es": {"trained_by": "es", "rate": "es.sigma", "rates": [0.01]}}
    block = {"optimizers": ["es"], "treatments": ["again"], "rates": 0.01}
    changes = {"optimizers": optimizers, "treatments": {"again": {"batch_order": 1}}, "contrasts": []}
    protocol = parse_protocol(example(**changes, blocks={"controls": block}))
    with pytest.raises(InputError, match="batch_order: is of gradient methods alone"):
        cells_of(protocol, "controls", base())


@pytest.mark.parametrize(
    ("rates", "arms", "values"),
    [
        ("all", ["rate0", "rate1", "rate2"], [0.0003, 0.001, 0.003]),
        ([2, 0], ["rate2", "rate0"], [0.003, 0.0003]),
        (0.005, [""], [0.005]),
    ],
)
def test_a_block_trains_at_all_rates_at_some_or_at_a_common_one(rates, arms, values):
    protocol = parse_protocol(example(contrasts=[], blocks={"controls": {"rates": rates, "treatments": ["none"]}}))
    planned = protocol.planned("controls")
    assert [arm.name for arm in planned] == [f"adam-mse-{arm}".rstrip("-") for arm in arms]
    assert [rate_of(protocol, arm) for arm in planned] == values


def test_cells_that_need_tuning_are_not_made_before_it():
    with pytest.raises(InputError, match=r"tuning.rates: adam-mse: missing"):
        cells_of(parse_protocol(example()), "controls", base())


def test_updates_are_an_axis_of_gradient_methods_alone():
    protocol = load_protocol(ROOT / "studies/protocol.yaml")
    axes = {contrast.name: protocol.axes_of(contrast) for contrast in protocol.contrasts}
    assert axes["Muon - Adam"] == ("validation_mae", "evaluations", "distance", "updates")
    assert axes["GA - Adam"] == ("validation_mae", "evaluations", "distance")


def test_power_is_checked_at_the_worst_level_of_the_family():
    protocol = load_protocol(ROOT / "studies/protocol.yaml")
    checks = {check.contrast: check for check in protocol.power_checks()}
    assert checks["Muon - Adam"].level == pytest.approx(0.05 / (6 * 2))
    assert checks["Muon - Adam"].can_reject
    few = parse_protocol(example(blocks={"controls": {"seeds": {"count": 5}}}))
    assert not few.power_checks()[0].can_reject


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"levle": 0.05}, "levle: unknown key"),
        ({"level": 0.0}, "level = 0.0: must be greater than 0"),
        ({"axes": ["loss"]}, "axes.0 = 'loss'"),
        ({"set": {"seedd": 1}}, "seedd: unknown parameter; did you mean seed?"),
        ({"datasets": {"light": {"loss": {"type": "mse"}}}}, "datasets.light: loss: must be one of data, model"),
        (
            {"optimizers": {"adam": {"set": {"es": {"popsize": 8}}}}},
            "optimizers.adam: es: must be one of adam, training",
        ),
        ({"optimizers": {"adam": {"rate": "adam.rate"}}}, "adam.rate: unknown parameter"),
        ({"blocks": {"controls": {"losses": ["mae"]}}}, "blocks.controls.losses: mae: must be one of mse"),
        ({"blocks": {"controls": {"rates": [3]}}}, "must be positions below 3"),
        ({"endpoints": {"primary": ["mp_spikes"]}}, "endpoints.primary: mp_spikes: is a secondary one"),
        ({"endpoints": {"primary": ["rank"]}}, "endpoint = rank"),
        ({"blocks": {"controls": {"held_to": ["tuning"]}}}, "blocks.controls.held_to: tuning: must be one of none"),
        ({"tuning_blocks": ["tuning"]}, "tuning_blocks: tuning: must be one of controls"),
        ({"tuning_blocks": ["controls"]}, "is of a tuning block"),
        ({"contrasts": [*EXAMPLE["contrasts"], *EXAMPLE["contrasts"]]}, "contrasts: decay: comes twice"),
        ({"contrasts": [{**EXAMPLE["contrasts"][0], "first": "muon-mse"}]}, "muon-mse: must be an arm of controls"),
        ({"contrasts": [{**EXAMPLE["contrasts"][0], "dataset": "heavy"}]}, "no block controls has data set heavy"),
        ({"contrasts": [{**EXAMPLE["contrasts"][0], "touches": ["x"]}]}, "touches x, which is no contrast"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change, complaint):
    with pytest.raises(InputError) as raised:
        parse_protocol(example(**change), "mine.yaml")
    assert str(raised.value).startswith("mine.yaml: ")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_seeds_that_have_tuned_serve_nothing_else():
    tuning = {**EXAMPLE["blocks"]["controls"], "seeds": {"first": 12, "count": 3}}
    with pytest.raises(InputError, match=r"blocks.controls.seeds: share 12 with the tuning blocks"):
        parse_protocol(example(blocks={"tuning": tuning}, tuning_blocks=["tuning"]))


def test_a_missing_key_and_no_mapping_are_named():
    content = example()
    del content["power"]
    with pytest.raises(InputError, match="power: missing"):
        parse_protocol(content)
    with pytest.raises(InputError, match="must be a mapping"):
        parse_protocol([])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"title": ""}, "title"),
        ({"axes": ["distance", "distance"]}, "distance comes twice"),
        ({"endpoints": {"primary": ["change_log_stable_rank"] * 2}}, "change_log_stable_rank comes twice"),
        ({"optimizers.adam.rates": [0.001, 0.001]}, "must be above 0 and ascend"),
        ({"optimizers.adam.rates": [0.003, 0.001]}, "must be above 0 and ascend"),
        ({"optimizers.adam.rates": [0.0, 0.001]}, "must be above 0 and ascend"),
        ({"blocks.controls.losses": ["mse", "mse"]}, "mse comes twice"),
        ({"datasets.light": {"data": {"dataset": "covid"}}}, "needs data.on_unreachable: fail"),
        ({"datasets.light": {"data": {"dataset": "rvr_flu", "on_unreachable": "standin"}}}, "no stand-in counts"),
        (
            {"contrasts": [{**EXAMPLE["contrasts"][0], "second": "adam-mse-decay"}]},
            "adam-mse-decay: must be two arms",
        ),
    ],
)
def test_what_can_only_be_a_slip_is_refused_in_one_line(changes, rule):
    content = copy.deepcopy(dict(EXAMPLE))
    for name, value in changes.items():
        put(content, name, value)
    with pytest.raises(InputError) as refused:
        parse_protocol(content)
    (line,) = str(refused.value).splitlines()
    assert rule in line


def test_the_first_axis_is_the_primary_one_whichever_it_is():
    for axes in (("distance", "validation_mae"), ("validation_mae", "distance", "updates"), ("updates", "distance")):
        protocol = parse_protocol({**EXAMPLE, "axes": axes})
        assert protocol.axes_of(protocol.contrasts[0]) == axes


def test_updates_cannot_be_the_first_axis_of_a_population_method():
    content = copy.deepcopy(dict(EXAMPLE))
    put(content, "optimizers.ga", {"trained_by": "ga", "rate": "ga.mutation_stdev", "rates": [0.003, 0.01, 0.03]})
    put(content, "blocks.controls.optimizers", ["adam", "ga"])
    content |= {"axes": ["updates", "distance"]}
    content["contrasts"] = [{**EXAMPLE["contrasts"][0], "first": "ga-mse"}]
    with pytest.raises(InputError, match="updates: cannot be the first: decay has a population method"):
        parse_protocol(content)


def test_a_key_that_comes_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("title: one\nlevel: 0.05\nset: {device: cpu}\nlevel: 0.5\n")
    with pytest.raises(InputError, match=r"p\.yaml: not valid YAML \(line 4: level comes twice\)"):
        load_protocol(path)
