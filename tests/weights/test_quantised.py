"""Packed and scaled weights are dequantised where the file describes them; what it does not describe is left out."""

import json

import pytest
import torch
from states import in_use

import transformer_spectrum as ts

OUT, IN, GROUP = 32, 64, 16
INT4 = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": GROUP}}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def integers(high, *shape, seed=0):
    return torch.randint(0, high, shape, generator=generator(seed))


def floats(*shape, seed=0):
    return torch.rand(shape, generator=generator(seed)) + 0.5


def packed(rows, bits):
    """Rows of integers as 32-bit words, written as one binary number a row, the first integer lowest."""
    words = []
    for row in rows.tolist():
        number = sum(entry << (bits * place) for place, entry in enumerate(row))
        count = len(row) * bits // 32
        unsigned = [(number >> (32 * i)) & 0xFFFFFFFF for i in range(count)]
        words.append([word - (1 << 32) if word >= 1 << 31 else word for word in unsigned])
    return torch.tensor(words, dtype=torch.int32)


def only(of, name="q.weight"):
    assert set(of.tensors) == {name}
    assert not of.skipped
    weight = of.read(name)
    assert tuple(weight.shape) == of.tensors[name].shape
    return weight


# -- GPTQ, AWQ, MLX --------------------------------------------------------------------------------------------
def gptq(bits, less, order=None):
    q, zeros = integers(2**bits, IN, OUT), integers(2**bits - 1, IN // GROUP, OUT, seed=1) + less
    scales = floats(IN // GROUP, OUT).half()
    groups = torch.arange(IN) // GROUP if order is None else order
    weight = ((q - zeros[groups]) * scales[groups].float()).T
    state = {
        "q.qweight": packed(q.T, bits).T.contiguous(),
        "q.qzeros": packed(zeros - less, bits),
        "q.scales": scales,
        "q.g_idx": groups.to(torch.int32),
    }
    return state, weight


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_of_every_number_of_bits_and_any_order_of_groups(bits):
    order = (torch.arange(IN) * 7 % IN) // GROUP
    state, weight = gptq(bits, 1, order)
    config = {"quantization_config": {"quant_method": "gptq", "bits": bits}}
    torch.testing.assert_close(only(in_use(state, config)), weight)


def test_gptq_in_its_second_format_stores_zeros_as_they_are():
    state, weight = gptq(4, 0)
    del state["q.g_idx"]
    beside = {"quantize_config.json": {"bits": 4, "checkpoint_format": "gptq_v2"}}
    torch.testing.assert_close(only(in_use(state, beside=beside)), weight)


@pytest.mark.parametrize("stored", [7, 8])
def test_symmetric_gptq_tells_its_format_by_its_zeros(stored):
    state, _ = gptq(4, 1)
    q = torch.stack([(state["q.qweight"] >> shift) & 15 for shift in range(0, 32, 4)], 1).flatten(0, 1)
    state["q.qzeros"] = packed(torch.full((IN // GROUP, OUT), stored), 4)
    expected = ((q - 8) * state["q.scales"].float()[state["q.g_idx"].long()]).T
    torch.testing.assert_close(only(in_use(state)), expected)


@pytest.mark.parametrize(
    "config", [None, {"quantization_config": {**INT4["quantization_config"], "checkpoint_format": "marlin"}}]
)
def test_gptq_whose_zeros_are_ambiguous_is_left_out_and_its_weights_are_counted(config):
    of = in_use(gptq(4, 1)[0], config)
    assert not of.tensors
    assert of.left_out_weights == OUT * IN
    assert {skipped.name for skipped in of.skipped} == {"q.qweight", "q.qzeros", "q.scales", "q.g_idx"}
    assert "packed 4-bit integers of GPTQ" in of.skipped[0].reason


def test_awq_has_an_order_of_its_own():
    q, zeros, scales = integers(16, IN, OUT), integers(16, IN // GROUP, OUT, seed=1), floats(IN // GROUP, OUT).half()
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def words(rows):
        return packed(rows.reshape(len(rows), -1, 8)[:, :, order].flatten(1), 4)

    groups = torch.arange(IN) // GROUP
    state = {"q.qweight": words(q), "q.qzeros": words(zeros), "q.scales": scales}
    config = {"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemm"}}
    expected = ((q - zeros[groups]) * scales[groups].float()).T
    torch.testing.assert_close(only(in_use(state, config)), expected)
    other = in_use(state, {"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemv_fast"}})
    assert other.left_out_weights == OUT * IN


def test_mlx_needs_the_bits_and_groups_of_its_configuration():
    q, scales, biases = integers(16, OUT, IN), floats(OUT, IN // GROUP), floats(OUT, IN // GROUP, seed=1)
    state = {"q.weight": packed(q, 4).view(torch.uint32), "q.scales": scales, "q.biases": biases}
    of = in_use(state, {"quantization": {"bits": 4, "group_size": GROUP}})
    expected = q * scales.repeat_interleave(GROUP, 1) + biases.repeat_interleave(GROUP, 1)
    torch.testing.assert_close(only(of), expected)
    assert not in_use(state).tensors


# -- compressed-tensors ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [None, "as they are", "packed"])
def test_compressed_tensors_are_signed_integers_in_words(bits, zeros):
    half = 2 ** (bits - 1)
    q, scales = integers(2**bits, OUT, IN) - half, floats(OUT, IN // GROUP).bfloat16()
    offsets = integers(2**bits, OUT, IN // GROUP, seed=2) - half if zeros else torch.zeros(OUT, IN // GROUP)
    state = {
        "q.weight_packed": packed(q + half, bits),
        "q.weight_scale": scales,
        "q.weight_shape": torch.tensor([OUT, IN]),
    }
    if zeros:
        words = packed((offsets + half).T, bits).T.contiguous()
        state["q.weight_zero_point"] = words if zeros == "packed" else offsets.to(torch.int8)
    expected = (q - offsets.repeat_interleave(GROUP, 1)) * scales.float().repeat_interleave(GROUP, 1)
    torch.testing.assert_close(only(in_use(state)), expected)
    del state["q.weight_shape"]
    of = in_use(state, {"quantization_config": {"config_groups": {"group_0": {"weights": {"num_bits": bits}}}}})
    assert not of.tensors
    assert of.left_out_weights == OUT * IN
    assert in_use(state).left_out_weights == 0
    assert "unknown" in in_use(state).skipped[0].reason


E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])


def nibbles(codes):
    """Two a byte, the first one low."""
    return (codes[..., 0::2] | codes[..., 1::2] << 4).to(torch.uint8)


def test_nvfp4_of_compressed_tensors_divides_by_the_scale_of_the_whole_and_that_of_modelopt_multiplies():
    codes, scales = integers(16, OUT, IN), floats(OUT, IN // 16).to(torch.float8_e4m3fn)
    entries = E2M1[codes] * scales.float().repeat_interleave(16, 1)
    whole = torch.tensor([4.0])
    state = {"q.weight_packed": nibbles(codes), "q.weight_scale": scales, "q.weight_global_scale": whole}
    torch.testing.assert_close(only(in_use(state)), entries / 4)
    state = {"q.weight": nibbles(codes), "q.weight_scale": scales, "q.weight_scale_2": whole[0]}
    torch.testing.assert_close(only(in_use(state)), entries * 4)
    del state["q.weight_scale_2"]
    assert in_use(state).left_out_weights == OUT * IN


def test_mxfp4_experts_are_formed_one_by_one_gates_before_ups():
    codes, exponents = integers(16, 2, OUT, IN), integers(9, 2, OUT, IN // 32, seed=3) + 123
    weight = E2M1[codes] * (2.0 ** (exponents - 127.0)).repeat_interleave(32, 2)
    blocks = nibbles(codes).reshape(2, OUT, IN // 32, 16)
    names = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
    state = {
        f"{name}_{kind}": tensor
        for name in names
        for kind, tensor in (("blocks", blocks), ("scales", exponents.to(torch.uint8)))
    }
    of = in_use(state)
    assert set(of.tensors) == {
        f"mlp.experts.{i}.{last}.weight" for i in (0, 1) for last in ("gate_up_proj", "down_proj")
    }
    torch.testing.assert_close(of.read("mlp.experts.1.down_proj.weight"), weight[1])
    gates = of.read("mlp.experts.1.gate_up_proj.weight")
    torch.testing.assert_close(gates, torch.cat([weight[1, 0::2], weight[1, 1::2]]))


# -- bitsandbytes ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nested", [False, True])
def test_bitsandbytes_of_four_bits_is_read_by_its_own_table(nested):
    block, table = 64, torch.linspace(-1, 1, 16)
    codes = integers(16, OUT * IN)
    bytes_of = (codes[0::2] << 4 | codes[1::2]).to(torch.uint8)[:, None]  # the first one high
    stated = {"quant_type": "nf4", "blocksize": block, "dtype": "float16", "shape": [OUT, IN]}
    scales = floats(OUT * IN // block)
    state = {"q.weight": bytes_of, "q.weight.absmax": scales, "q.weight.quant_map": table}
    if nested:
        stated |= {"nested_blocksize": 8, "nested_dtype": "float32", "nested_offset": 0.25}
        places, fine, coarse = integers(256, len(scales), seed=4), torch.linspace(0, 1, 256), floats(len(scales) // 8)
        scales = fine[places] * coarse.repeat_interleave(8) + 0.25
        state |= {"q.weight.absmax": places.to(torch.uint8), "q.weight.nested_absmax": coarse}
        state["q.weight.nested_quant_map"] = fine
    unstated = dict(state)
    state["q.weight.quant_state.bitsandbytes__nf4"] = torch.tensor(list(json.dumps(stated).encode()), dtype=torch.uint8)
    expected = (table[codes] * scales.repeat_interleave(block)).reshape(OUT, IN)
    torch.testing.assert_close(only(in_use(state)), expected)
    of = in_use(unstated)
    assert not of.tensors
    assert of.left_out_weights == OUT * IN


# -- eight bits ------------------------------------------------------------------------------------------------
def test_bitsandbytes_of_eight_bits_has_a_scale_a_row():
    q, rows = integers(255, OUT, IN) - 127, floats(OUT)
    state = {"q.weight": q.to(torch.int8), "q.SCB": rows, "q.weight_format": torch.tensor(0, dtype=torch.uint8)}
    of = in_use(state)
    torch.testing.assert_close(of.read("q.weight"), q * rows[:, None] / 127)
    assert not of.skipped
    state["q.weight_format"] += 1  # tiled for a GPU
    assert in_use(state).left_out_weights == OUT * IN


SCALES = {
    "blocks of 128, the last ones cut short": ("weight_scale_inv", (300, 200), (3, 2), None, (128, 128)),
    "blocks as stated": ("weight_scale_inv", (64, 96), (4, 3), [16, 32], (16, 32)),
    "blocks that divide the weight": ("weight_scale_inv", (64, 96), (4, 3), None, (16, 32)),
    "one a row": ("weight_scale", (64, 96), (64, 1), None, (1, 96)),
    "one a row, a vector": ("weight_scale", (64, 96), (64,), None, (1, 96)),
    "one for all": ("weight_scale", (64, 96), (), None, (64, 96)),
    "one for all by ComfyUI": ("scale_weight", (64, 96), (1,), None, (64, 96)),
    "blocks by DeepSeek's own code": ("scale", (256, 384), (2, 3), None, (128, 128)),
}


@pytest.mark.parametrize(("name", "shape", "scale", "stated", "block"), SCALES.values(), ids=SCALES)
def test_eight_bit_floats_are_multiplied_with_the_scale_of_their_block(name, shape, scale, stated, block):
    entries, scales = (floats(*shape) - 1).to(torch.float8_e4m3fn), floats(*scale, seed=5)
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": stated}} if stated else {}
    of = in_use({"q.weight": entries, f"q.{name}": scales, "q.input_scale": torch.tensor(0.5)}, config)
    columns = -(-shape[1] // block[1])
    grid = scales.expand(shape[0], 1) if name == "weight_scale" and scale == () else scales
    expected = torch.empty(shape)
    for i in range(shape[0]):
        for j in range(columns):
            factor = grid.flatten()[i // block[0] * columns + j] if grid.numel() > 1 else grid.flatten()[0]
            span = slice(j * block[1], (j + 1) * block[1])
            expected[i, span] = entries[i, span].float() * factor
    torch.testing.assert_close(of.read("q.weight"), expected)
    assert {"q.weight"} == {name for name in of.tensors if len(of.tensors[name].shape) == 2}


def test_eight_bit_floats_without_a_scale_are_the_weight_and_with_one_that_does_not_fit_nothing():
    entries = (floats(OUT, IN) - 1).to(torch.float8_e5m2)
    of = in_use({"q.weight": entries})
    assert torch.equal(only(of), entries.float())
    assert "without a scale" in of.note("q.weight")
    for name, shape in (("weight_scale_inv", (5, 7)), ("weight_scale", (IN,)), ("scale_of_mine", (OUT, 1))):
        of = in_use({"q.weight": entries, f"q.{name}": torch.ones(shape)})
        assert "q.weight" not in of.tensors
        assert of.left_out_weights == OUT * IN


def test_integers_of_eight_bits_with_scale_and_zero():
    q, scales, zeros = integers(255, OUT, IN) - 127, floats(OUT, 1), integers(9, OUT, 1, seed=6).to(torch.int8)
    state = {"q.weight": q.to(torch.int8), "q.weight_scale": scales, "q.weight_zero_point": zeros}
    torch.testing.assert_close(only(in_use(state)), (q - zeros) * scales)
    quanto = {"q.weight._data": q.to(torch.int8), "q.weight._scale": scales}
    torch.testing.assert_close(only(in_use(quanto)), q * scales)


@pytest.mark.filterwarnings("ignore")  # torch announces another way to quantise
def test_torchs_own_quantised_layers_know_their_weight():
    module = torch.nn.Sequential(torch.nn.Linear(IN, OUT))
    quantised = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)
    values = ts.singular_values(quantised.state_dict())
    expected = torch.linalg.svdvals(quantised[0].weight().dequantize().double())
    torch.testing.assert_close(torch.from_numpy(values["0"]), expected)


def test_a_weight_that_lies_beside_its_own_pieces_is_taken_as_it_is():
    state, _ = gptq(4, 1)
    plain = floats(OUT, IN)
    of = in_use({**state, "q.weight": plain}, INT4)
    assert torch.equal(of.read("q.weight"), plain)
    assert {skipped.name for skipped in of.skipped} == set(state)


# -- left out --------------------------------------------------------------------------------------------------
def test_packed_integers_of_other_kinds_take_their_scales_with_them():
    hqq = {"q.W_q": integers(255, 16, IN).to(torch.uint8), "q.scale": floats(IN, 1), "q.zero": floats(IN, 1)}
    hqq |= {"q.nbits": torch.tensor(4), "q.shape": torch.tensor([OUT, IN])}
    aqlm = {
        "q.codes": integers(99, OUT, 8, 2).to(torch.int16),
        "q.codebooks": floats(2, 99, 1, 8),
        "q.scales": floats(OUT, 1),
    }
    orphans = {"q.weight_scale_inv": floats(4, 4), "q.qzeros": integers(9, 4, 4).to(torch.int32)}
    nested = {name.replace("q.", "q.meta.") if "W_q" not in name else name: tensor for name, tensor in hqq.items()}
    for state, count in ((hqq, OUT * IN), (nested, 16 * IN), (aqlm, OUT * 16), (orphans, 0)):
        of = in_use(state)
        assert not [name for name, tensor in of.tensors.items() if len(tensor.shape) > 1]
        assert of.left_out_weights == count


def test_tables_and_learned_scales_of_other_modules_stay():
    state = {
        "attn.relative_position_bias_table": floats(9, 4),
        "attn.relative_position_index": integers(9, 4, 4),
        "attn.logit_scale": floats(4, 1, 1),
        "net.scale": floats(4, 4),
    }
    assert set(in_use(state).tensors) == set(state)
