"""Adapters become the update and the weight in use, by their authors' formulas written out here by hand."""

import json
import math

import pytest
import states
import torch

LAYER = "base_model.model.layers.0.self_attn.q_proj"
CONFIG = {"peft_type": "LORA", "r": 3, "lora_alpha": 12, "fan_in_fan_out": False}


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


W, A, B = numbers(8, 6), numbers(3, 6), numbers(8, 3)


def in_use(state, adapter=None, metadata=None):
    return states.in_use(state, beside={"adapter_config.json": adapter} if adapter else None, metadata=metadata)


def close(actual, expected):
    torch.testing.assert_close(actual.double(), expected.double(), rtol=1e-5, atol=1e-6)


SPELLINGS = {
    "an adapter's file": ("{}.lora_A.weight", "{}.lora_B.weight"),
    "a model with its adapter": ("{}.lora_A.default.weight", "{}.lora_B.default.weight"),
    "torchtune": ("{}.lora_a.weight", "{}.lora_b.weight"),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_update_is_b_a_times_its_scale_and_the_weight_in_use_has_it_added(spelling):
    first, second = (name.format(LAYER) for name in spelling)
    alone = in_use({first: A, second: B}, CONFIG)
    assert set(alone.tensors) == {f"{LAYER}.update.weight"}
    close(alone.read(f"{LAYER}.update.weight"), 4 * B @ A)
    assert "times 4" in alone.note(f"{LAYER}.update.weight")
    both = in_use({f"{LAYER}.base_layer.weight": W, first: A, second: B}, CONFIG)
    assert set(both.tensors) == {f"{LAYER}.weight", f"{LAYER}.update.weight"}
    close(both.read(f"{LAYER}.weight"), W + 4 * B @ A)
    assert set(both.pieces(f"{LAYER}.weight")) == {f"{LAYER}.base_layer.weight", first, second}
    assert both.numbers(f"{LAYER}.update.weight") == A.numel() + B.numel()


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({"use_rslora": True}, 12 / math.sqrt(3)),
        ({"lora_alpha": 8, "alpha_pattern": {"q_proj": 30}}, 10),
        ({"r": 16, "rank_pattern": {r"layers\.\d+\.self_attn\.q_proj": 3}}, 4),
        ({"r": 3, "rank_pattern": {"v_proj": 5}, "alpha_pattern": {"proj": 60}}, 4),
    ],
)
def test_the_scale_follows_the_configuration(changes, scale):
    update = in_use({f"{LAYER}.lora_A.weight": A, f"{LAYER}.lora_B.weight": B}, {**CONFIG, **changes})
    close(update.read(f"{LAYER}.update.weight"), scale * B @ A)


def test_factors_of_another_rank_than_stated_are_left_out():
    state = {f"{LAYER}.lora_A.weight": A, f"{LAYER}.lora_B.weight": B, f"{LAYER}.base_layer.weight": W}
    of = in_use(state, {**CONFIG, "r": 6})
    assert not of.tensors
    assert any("r = 6" in skipped.reason for skipped in of.skipped)
    assert of.left_out_weights == W.numel()


def test_without_a_scale_the_update_is_known_up_to_a_factor_and_the_weight_in_use_not_at_all():
    state = {
        f"{LAYER}.base_layer.weight": W,
        f"{LAYER}.lora_A.default.weight": A,
        f"{LAYER}.lora_B.default.weight": B,
        "lm_head.weight": numbers(9, 6),
    }
    of = in_use(state)
    assert set(of.tensors) == {f"{LAYER}.update.weight", "lm_head.weight"}
    close(of.read(f"{LAYER}.update.weight"), B @ A)
    assert "up to a factor" in of.note(f"{LAYER}.update.weight")
    assert "spectral_norm" in of.notes[0]
    (base,) = of.skipped
    assert base.name == f"{LAYER}.base_layer.weight"
    assert "not the one in use" in base.reason
    assert base.weights == W.numel()


@pytest.mark.parametrize(
    ("config", "reason"),
    [({"r": 3}, "states no r and no lora_alpha"), ({"peft_type": "XLORA", "r": 3, "lora_alpha": 6}, "describes XLORA")],
)
def test_a_configuration_that_tells_no_scale_is_not_called_missing(config, reason):
    of = in_use({"q.lora_A.weight": A, "q.lora_B.weight": B}, config)
    close(of.read("q.update.weight"), B @ A)
    assert reason in of.note("q.update.weight")


def test_factors_that_began_as_a_part_of_the_weight_are_said_to():
    state = {"q.lora_A.weight": A, "q.lora_B.weight": B}
    assert "holds a part of it" in in_use(state, {**CONFIG, "init_lora_weights": "pissa_niter_16"}).notes[0]
    assert not in_use(state, {**CONFIG, "init_lora_weights": True}).notes


def test_a_small_update_has_exactly_its_rank():
    update = in_use({"q.lora_A.weight": A.half(), "q.lora_B.weight": B.half()}, CONFIG).read("q.update.weight")
    values = torch.linalg.svdvals(update)
    assert values[3] < 1e-14 * values[0]


def test_conv1d_weights_get_the_update_transposed():
    square = numbers(6, 6)
    for base, a, b in ((W.T, A, B), (square, A, numbers(6, 3))):
        state = {"h.0.c_attn.base_layer.weight": base, "h.0.c_attn.lora_A.weight": a, "h.0.c_attn.lora_B.weight": b}
        turned = in_use(state, {**CONFIG, "fan_in_fan_out": True})
        close(turned.read("h.0.c_attn.weight"), base + 4 * (b @ a).T)


def test_embeddings_and_convolutions_have_updates_of_their_own_shape():
    a, b = numbers(3, 20), numbers(6, 3)
    state = {
        "wte.base_layer.weight": numbers(20, 6),
        "wte.lora_embedding_A.default": a,
        "wte.lora_embedding_B.default": b,
    }
    of = in_use(state, CONFIG)
    close(of.read("wte.weight"), state["wte.base_layer.weight"] + 4 * (b @ a).T)
    layer = torch.nn.Sequential(torch.nn.Conv2d(5, 3, 3, bias=False), torch.nn.Conv2d(3, 8, 1, bias=False))
    x = numbers(2, 5, 7, 7)
    factors = {"c.lora_A.weight": layer[0].weight.detach(), "c.lora_B.weight": layer[1].weight.detach()}
    update = in_use(factors, CONFIG).read("c.update.weight").float()
    close(torch.nn.functional.conv2d(x, update), 4 * layer(x).detach())


def test_kohya_files_state_their_scale_in_a_tensor():
    state = {
        "lora_unet_to_q.lora_down.weight": A,
        "lora_unet_to_q.lora_up.weight": B,
        "lora_unet_to_q.alpha": torch.tensor(1.5),
        "conv.lora_down.weight": numbers(3, 5, 1, 1),
        "conv.lora_mid.weight": numbers(3, 3, 2, 2),
        "conv.lora_up.weight": numbers(8, 3, 1, 1),
        "conv.alpha": torch.tensor(3),
        "old.processor.to_k_lora.down.weight": A,
        "old.processor.to_k_lora.up.weight": B,
    }
    of = in_use(state)
    close(of.read("lora_unet_to_q.update.weight"), 0.5 * B @ A)
    down, mid, up = (state[f"conv.lora_{role}.weight"].double() for role in ("down", "mid", "up"))
    x = numbers(1, 5, 4, 4).double()
    composed = torch.nn.functional.conv2d(x, down)
    composed = torch.nn.functional.conv2d(torch.nn.functional.conv2d(composed, mid), up)
    close(torch.nn.functional.conv2d(x, of.read("conv.update.weight").double()), composed)
    close(of.read("old.processor.to_k.update.weight"), B @ A)
    assert "up to a factor" in of.note("old.processor.to_k.update.weight")


def test_diffusers_keep_the_configuration_in_the_metadata_of_the_file():
    state = {"transformer.to_q.lora_A.weight": A, "transformer.to_q.lora_B.weight": B}
    stated = {"lora_adapter_metadata": json.dumps({"transformer.r": 3, "transformer.lora_alpha": 6})}
    close(in_use(state, metadata=stated).read("transformer.to_q.update.weight"), 2 * B @ A)


def test_mlx_stores_both_factors_turned():
    of = in_use({"q.lora_a": A.T.contiguous(), "q.lora_b": B.T.contiguous(), "q.linear.weight": W})
    close(of.read("q.update.weight"), B @ A)
    assert set(of.tensors) == {"q.update.weight"}


def test_loralib_weights_may_be_merged_already_so_they_are_left_out():
    of = in_use({"q.weight": W, "q.lora_A": A, "q.lora_B": B})
    assert set(of.tensors) == {"q.update.weight"}
    close(of.read("q.update.weight"), B @ A)


def test_two_adapters_on_a_layer_have_two_updates_and_no_weight_in_use():
    state = {f"q.lora_{role}.{name}.weight": tensor for role, tensor in (("A", A), ("B", B)) for name in ("cat", "dog")}
    of = in_use({"q.base_layer.weight": W, **state}, CONFIG)
    assert set(of.tensors) == {"q.update.cat.weight", "q.update.dog.weight"}
    assert "several adapters" in of.skipped[0].reason


def test_dora_rescales_the_rows_of_the_sum():
    lengths = numbers(8).abs() + 1
    state = {"q.lora_A.default.weight": A, "q.lora_B.default.weight": B}
    state["q.lora_magnitude_vector.default.weight"] = lengths
    config = {**CONFIG, "use_dora": True}
    of = in_use({"q.base_layer.weight": W, **state}, config)
    total = W + 4 * B @ A
    close(of.read("q.weight"), lengths[:, None] * total / total.norm(dim=1, keepdim=True))
    assert set(of.tensors) == {"q.weight"}
    alone = in_use(state, config)
    assert not [name for name in alone.tensors if len(alone.tensors[name].shape) > 1]
    assert "DoRA" in alone.skipped[0].reason


def test_ia3_rescales_rows_or_columns_as_its_shape_says():
    for vector in (numbers(8, 1), numbers(1, 6)):
        of = in_use({"k.base_layer.weight": W, "k.ia3_l.default": vector}, {"peft_type": "IA3"})
        close(of.read("k.weight"), W * vector)
        assert set(of.tensors) == {"k.weight"}
    assert not in_use({"k.ia3_l": numbers(8, 1)}).tensors


def test_adalora_loha_and_lokr_multiply_out():
    values = numbers(3, 1)
    adalora = {"q.lora_A": A, "q.lora_B": B, "q.lora_E": values}
    close(in_use(adalora, {"peft_type": "ADALORA", "lora_alpha": 4}).read("q.update.weight"), B @ (values * A))
    ranked = in_use({**adalora, "q.ranknum": torch.tensor(2.0)}, {"peft_type": "ADALORA", "lora_alpha": 4})
    close(ranked.read("q.update.weight"), 2 * B @ (values * A))
    loha = {
        f"q.hada_w{i}_{side}": numbers(*shape, seed=i) for i in (1, 2) for side, shape in (("a", (8, 3)), ("b", (3, 6)))
    }
    expected = (loha["q.hada_w1_a"] @ loha["q.hada_w1_b"]) * (loha["q.hada_w2_a"] @ loha["q.hada_w2_b"])
    config = {"peft_type": "LOHA", "r": 3, "alpha": 6}
    close(in_use(loha, config).read("q.update.weight"), 2 * expected)
    lokr = {"q.lokr_w1": numbers(2, 3), "q.lokr_w2_a": numbers(4, 3), "q.lokr_w2_b": numbers(3, 2)}
    expected = torch.kron(lokr["q.lokr_w1"], lokr["q.lokr_w2_a"] @ lokr["q.lokr_w2_b"])
    close(in_use({**lokr, "q.alpha": torch.tensor(6.0)}).read("q.update.weight"), 2 * expected)


def test_factors_that_make_no_sense_and_unknown_adapters_are_left_out_with_the_weight_below():
    cases = {
        "no counterpart": {"q.lora_A.weight": A},
        "no product": {"q.lora_A.weight": A, "q.lora_B.weight": numbers(8, 2)},
        "experts": {"experts.lora_A.weight": A, "experts.lora_B.weight": B},
        "oft": {"q.oft_r.default": numbers(2, 3, 3)},
    }
    for state in cases.values():
        layer = next(iter(state)).split(".")[0]
        of = in_use({**state, f"{layer}.base_layer.weight": W}, None)
        assert not of.tensors
        assert {skipped.name for skipped in of.skipped} == {*state, f"{layer}.base_layer.weight"}


def test_the_copy_that_was_trained_is_the_one_in_use():
    trained = numbers(4, 6)
    of = in_use(
        {"score.original_module.weight": numbers(4, 6, seed=5), "score.modules_to_save.default.weight": trained}
    )
    assert torch.equal(of.read("score.weight"), trained)
    assert set(of.tensors) == {"score.weight"}


def test_a_base_layer_of_a_model_without_adapters_is_a_name_like_any_other():
    assert set(in_use({"dla.base_layer.weight": W, "dla.alpha": torch.tensor(1.0)}).tensors) == {
        "dla.base_layer.weight",
        "dla.alpha",
    }
