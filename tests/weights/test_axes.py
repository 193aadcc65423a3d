"""Tensors of three and more axes become the matrices that their layers compute with, or say what is not certain."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from transformer_spectrum.weights.anatomy.dissection import dissect


def taken(tensors, config=None):
    """The anatomy, and every matrix by name; each has the shape that it states."""
    anatomy = dissect({name: tuple(tensor.shape) for name, tensor in tensors.items()}, config or {})
    found = {matrix.name: matrix.within(tensors[matrix.tensor]) for matrix in anatomy.matrices}
    assert [tuple(matrix.shape) for matrix in found.values()] == [matrix.shape for matrix in anatomy.matrices]
    return anatomy, found


HEADS, WIDTH, HEAD = 4, 24, 5  # heads x head is not the width, so that no size settles it alone
X = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("names", "query_axes", "output_axes"),
    [
        (("attn.W_Q", "attn.W_O"), "hdk", "hkd"),  # TransformerLens
        (("attn.query.kernel", "attn.out.kernel"), "dhk", "hkd"),  # flax
        (("layer/attention/query/kernel", "layer/attention/out/kernel"), "dhk", "hkd"),
    ],
)
def test_projections_with_heads_as_an_axis_are_the_matrix_of_a_linear(names, query_axes, output_axes):
    """Oracle: the einsum that the layer computes."""
    sizes = {"h": HEADS, "d": WIDTH, "k": HEAD}
    tensors = {
        name: torch.randn(*(sizes[axis] for axis in axes))
        for name, axes in zip(names, (query_axes, output_axes), strict=True)
    }
    anatomy, found = taken(tensors)
    query, output = found.values()
    heads = torch.einsum(f"nd,{query_axes}->nhk", X, tensors[names[0]])
    torch.testing.assert_close(linear(X, query), heads.flatten(1))
    torch.testing.assert_close(linear(heads.flatten(1), output), torch.einsum("nhk,hkd->nd", heads, tensors[names[1]]))
    assert [matrix.family.label for matrix in anatomy.matrices] == ["query", "attention_output"]
    assert all("heads as an axis" in matrix.note for matrix in anatomy.matrices)


@pytest.mark.parametrize(
    ("shape", "beside", "config", "axis"),
    [
        ((3, 12, 4), {}, {}, 1),  # 12 = 3 x 4
        ((3, 4, 12), {}, {}, 2),
        ((3, 9, 5), {}, {"hidden_size": 9}, 1),
        ((3, 9, 5), {"norm.weight": (9,)}, {}, 1),
        ((3, 9, 5), {"attn.b_Q": (3, 5)}, {}, 1),
        ((2, 9, 5), {"attn.W_K": (6, 9, 5), "attn.W_O": (6, 5, 9)}, {}, 1),  # fewer keys than queries
    ],
)
def test_the_width_of_the_model_is_known_by_sizes(shape, beside, config, axis):
    name = "attn.W_V" if "attn.W_K" in beside else "attn.W_Q"
    tensor = torch.randn(shape)
    _, found = taken({**{key: torch.randn(size) for key, size in beside.items()}, name: tensor}, config)
    assert torch.equal(found[name], tensor.movedim(axis, 2).flatten(0, 1))


def test_a_stack_of_heads_is_cut_where_its_width_is_not_known_and_left_out_where_nothing_is():
    square = torch.randn(4, 16, 16)
    anatomy, found = taken({"attn.q_proj": square})
    assert torch.equal(found["attn.q_proj.head_2"], square[2])
    assert {matrix.family.label for matrix in anatomy.matrices} == {"query_head"}
    anatomy, found = taken({"attn.q_proj": torch.randn(5, 17, 23)})
    assert found == {}
    assert "which axis is the model's width is not certain" in anatomy.skipped[0].reason


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_a_transposed_convolution_is_outputs_times_inputs(groups):
    """Oracle: torch's layer with a kernel of one position, group by group a linear map."""
    layer = nn.ConvTranspose1d(6, 12, 1, groups=groups)
    anatomy, found = taken({"up.weight": layer.weight.detach(), "up.bias": layer.bias.detach()})
    x = torch.randn(6)
    expected = layer(x[None, :, None])[0, :, 0] - layer.bias
    inputs = x.unflatten(0, (groups, -1)).repeat_interleave(12 // groups, 0)  # those of each output's group
    torch.testing.assert_close((found["up"] * inputs).sum(1), expected)
    assert "transposed convolution by its bias" in anatomy.matrices[0].note


@pytest.mark.parametrize(
    ("name", "shape", "beside", "swapped"),
    [
        ("net.0.weight", (10, 6, 3, 3), {"net.1.running_mean": (6,)}, True),  # DCGAN: no bias, a batch norm behind
        ("net.0.weight", (10, 6, 3, 3), {"net.1.running_mean": (10,)}, False),
        ("net.0.weight", (10, 6, 3, 3), {"net.1.weight": (6,)}, True),  # a norm without running statistics
        # The last layer of a generator and the first of a discriminator, which have neither
        ("net.3.weight", (6, 4, 4, 4), {"net.0.weight": (10, 6, 4, 4), "net.1.running_mean": (6,)}, True),
        ("net.3.weight", (6, 4, 4, 4), {"net.0.weight": (10, 6, 4, 4)}, True),
        ("net.0.weight", (6, 3, 4, 4), {"net.2.weight": (10, 6, 4, 4), "net.3.running_mean": (10,)}, False),
        ("net.1.weight", (8, 1, 3, 3), {"net.0.weight": (8, 6, 1, 1)}, False),  # depthwise or transposed, at the end
        ("net.0.weight", (8, 2, 3, 3), {"net.1.weight": (8, 2, 3, 3), "net.1.bias": (8,)}, False),  # or in groups
        ("deconv.weight", (8, 8, 2, 2), {"deconv.bias": (8,)}, True),
        ("conv.weight", (8, 8, 3, 3), {"conv.bias": (8,)}, False),
        ("conv_transpose.weight", (10, 6, 4), {}, True),
        ("deconv.weight", (8, 4, 2, 2), {"deconv.bias": (8,)}, False),  # a plain one in a block of that name
    ],
)
def test_names_and_norms_tell_transposed_convolutions_from_others(name, shape, beside, swapped):
    tensor = torch.randn(shape)
    _, found = taken({name: tensor, **{key: torch.ones(size) for key, size in beside.items()}})
    expected = tensor.transpose(0, 1).flatten(1) if swapped else tensor.flatten(1)
    assert torch.equal(found[name.removesuffix(".weight")], expected)


@pytest.mark.parametrize(
    ("shapes", "certain"),
    [
        ({"upconv.weight": (8, 4, 2, 2)}, False),
        ({"0.weight": (8, 3, 4, 4)}, False),
        ({"0.weight": (8, 3, 4, 4), "1.running_mean": (8,)}, True),
        ({"visual.conv1.weight": (8, 3, 16, 16)}, True),
        ({"patch_embed.proj.weight": (8, 3, 16, 16)}, True),
        ({"downsample.0.weight": (8, 4, 1, 1)}, True),
    ],
)
def test_a_kernel_that_nothing_tells_the_outputs_of_says_so(shapes, certain):
    """Neither a bias nor a norm nor neighbours, and a name or an even side that transposed ones have as well."""
    anatomy, _ = taken({name: torch.ones(shape) for name, shape in shapes.items()})
    assert bool(anatomy.notes) is not certain


@pytest.mark.parametrize(("name", "size"), [("up", 2), ("up", 3), ("0", 4)])
def test_a_convolution_that_may_be_transposed_says_so(name, size):
    anatomy, _ = taken({f"{name}.weight": torch.randn(8, 8, size, size), f"{name}.bias": torch.ones(8)})
    assert "may be read wrongly" in anatomy.notes[0]
    assert "a transposed convolution would have them second" in anatomy.matrices[0].note


def test_three_axes_with_a_bias_as_long_as_the_last_are_no_kernel():
    """Bases of a relational graph convolution: (bases, inputs, outputs); 32 outputs would also be two groups of 16."""
    bases = torch.randn(30, 16, 32)
    anatomy, found = taken({"conv1.weight": bases, "conv1.bias": torch.ones(32)})
    assert torch.equal(found["conv1"], bases.permute(2, 0, 1).flatten(1))
    assert "may be read wrongly" in anatomy.notes[0]


def test_one_output_and_one_input_are_kernels_too():
    tensors = {
        "conv_post.weight": torch.randn(1, 32, 7),
        "conv_post.bias": torch.ones(1),
        "dw.weight": torch.randn(9, 1, 3, 3),
        "dw.bias": torch.ones(9),
    }
    anatomy, found = taken(tensors)
    assert {name: tuple(matrix.shape) for name, matrix in found.items()} == {"conv_post": (1, 224), "dw": (9, 9)}
    assert "depthwise" in anatomy.matrices[1].note


@pytest.mark.parametrize(
    "name", ["experts.0.conv.weight", "experts.3.weight", "moe.experts.expert_0.proj.weight", "mlp.expert.weight"]
)
def test_a_convolution_inside_one_expert_is_no_stack_of_experts(name):
    kernel = torch.randn(64, 32, 3)
    for beside in ({}, {name.replace("weight", "bias"): torch.ones(64)}):
        anatomy, found = taken({name: kernel, **beside})
        assert torch.equal(found[name.removesuffix(".weight")], kernel.flatten(1))
        assert anatomy.matrices[0].family.label == "convolution"


EXPERTS, INNER = 3, 10


@pytest.mark.parametrize(
    ("layout", "config", "beside"),
    [
        ("inputs first", {"model_type": "llama4"}, {}),
        ("alternating", {"model_type": "gpt_oss", "num_local_experts": EXPERTS}, {}),
        ("alternating", {}, {"l.experts.gate_up_proj_bias": torch.zeros(EXPERTS, 2 * INNER)}),
        ("outputs first", {}, {}),
    ],
)
def test_gate_and_up_of_every_expert_are_cut_as_the_model_cuts_them(layout, config, beside):
    stored = torch.randn(EXPERTS, WIDTH, 2 * INNER)
    down = torch.randn(EXPERTS, INNER, WIDTH)
    gate, up = (
        (stored[..., ::2], stored[..., 1::2]) if layout == "alternating" else (stored[..., :INNER], stored[..., INNER:])
    )
    if layout == "outputs first":
        stored, down = stored.mT.contiguous(), down.mT.contiguous()
    anatomy, found = taken({"l.experts.gate_up_proj": stored, "l.experts.down_proj": down, **beside}, config)
    for i in range(EXPERTS):
        assert torch.equal(found[f"l.experts.gate_up_proj.expert_{i}.gate"], gate[i].T)
        assert torch.equal(found[f"l.experts.gate_up_proj.expert_{i}.up"], up[i].T)
    families = {matrix.family.label for matrix in anatomy.matrices}
    assert families == {"feed_forward_gate", "feed_forward_up", "feed_forward_down"}


def test_experts_below_each_other_are_cut_by_the_number_that_the_configuration_states():
    stored = torch.randn(4 * INNER, WIDTH)
    name = "transformer.blocks.0.ffn.experts.mlp.w2"
    _, found = taken({name: stored}, {"model_type": "dbrx", "ffn_config": {"moe_num_experts": 4}})
    assert torch.equal(found[f"{name}.expert_3"], stored[3 * INNER :])
    assert list(taken({name: stored})[1]) == [name]


def test_a_stack_with_a_bias_for_each_of_its_matrices_is_cut():
    weight = torch.randn(5, 12, 9)
    _, found = taken({"members.weight": weight, "members.bias": torch.zeros(5, 12)})
    assert torch.equal(found["members.slice_4"], weight[4])


@pytest.mark.parametrize("axis", [0, 1])
def test_stacked_layers_are_read_as_if_they_were_stored_apart(axis):
    apart = {
        "attn.in_proj_weight": torch.randn(36, 12),
        "mlp.up.kernel": torch.randn(12, 20),
        "norm.scale": torch.ones(12),
    }
    stacked = {
        f"decoder.layers.{name}": torch.stack([tensor, 2 * tensor, 3 * tensor], axis) for name, tensor in apart.items()
    }
    anatomy, found = taken(stacked)
    _, expected = taken({f"decoder.layers.2.{name}": tensor for name, tensor in apart.items()})
    assert len(found) == 3 * len(expected)
    for name, matrix in expected.items():
        assert torch.equal(found[name], 3 * matrix)
    assert anatomy.vectors == 3
    assert "3 layers" in anatomy.notes[0]


@pytest.mark.parametrize(
    "tensors",
    [
        {"layers.weight": torch.randn(8, 4, 3), "layers.bias": torch.ones(8)},
        {"layer.weight": torch.randn(8, 4), "layer.bias": torch.ones(8)},
        {"blocks.conv1.weight": torch.randn(8, 4, 3), "blocks.conv2.weight": torch.randn(8, 8, 3)},
    ],
)
def test_modules_called_layers_are_no_stack_of_layers(tensors):
    _, found = taken(tensors)
    assert all(
        torch.equal(found[name.removesuffix(".weight")], t.flatten(1)) for name, t in tensors.items() if t.ndim > 1
    )


def test_a_bilinear_form_is_a_matrix_for_every_output():
    """Oracle: torch's layer."""
    layer = nn.Bilinear(5, 6, 3)
    _, found = taken({f"bilinear.{name}": tensor.detach() for name, tensor in layer.state_dict().items()})
    first, second = torch.randn(5), torch.randn(6)
    made = torch.stack([first @ found[f"bilinear.output_{i}"] @ second for i in range(3)]) + layer.bias
    torch.testing.assert_close(made, layer(first[None], second[None])[0])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("core", (6, 40, 40)),
        ("proj.weight", (6, 40, 40)),
        ("proj.weight", (6, 16, 16)),
        ("b.weight", (6, 40, 40)),
        ("b.weight", (9, 12, 16)),
        ("weights1", (8, 8, 12, 12)),
    ],
)
def test_what_stays_doubtful_is_one_piece_with_a_note(name, shape):
    beside = {"b.bias": torch.ones(shape[0])} if name == "b.weight" else {}
    anatomy, found = taken({name: torch.randn(shape), **beside})
    assert len(found) == 1
    assert anatomy.matrices[0].family.label == "other"
    assert "certain" in anatomy.matrices[0].note
    assert name in anatomy.notes[0]
    assert "may be read wrongly" in anatomy.notes[0]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 7, 4), (7, 4)),
        ((7, 1, 4), (7, 4)),
        ((1, 5, 5, 8), (25, 8)),
        ((1, 8, 5, 5), (25, 8)),
        ((1, 3, 6, 6), (36, 3)),
    ],
)
def test_position_embeddings_are_positions_times_width(shape, expected):
    table = torch.randn(shape)
    _, found = taken({"pos_embed": table})
    matrix = found["pos_embed"]
    assert tuple(matrix.shape) == expected
    singular = torch.linalg.svdvals(table.squeeze(0).flatten(1) if shape[-1] == shape[-2] else table.reshape(expected))
    torch.testing.assert_close(torch.linalg.svdvals(matrix), singular)


def test_a_bias_of_pairs_of_positions_is_no_matrix():
    anatomy, found = taken({"attn.relative_position_bias": torch.randn(1, 4, 9, 9)})
    assert found == {}
    assert "no matrix that anything is multiplied by" in anatomy.skipped[0].reason


def test_queries_keys_and_values_along_a_first_axis_are_cut():
    fused = torch.randn(3, 8, 8)
    anatomy, found = taken({"attn.qkv": fused})
    assert torch.equal(found["attn.qkv.value"], fused[2])
    assert [matrix.family.label for matrix in anatomy.matrices] == ["query", "key", "value"]


@pytest.mark.parametrize("name", ["attn.qkv.kernel", "attn.qkv"])
def test_queries_keys_and_values_along_an_axis_that_is_not_known_are_left_out(name):
    anatomy, found = taken({name: torch.randn(8, 3, 2, 4)})
    assert found == {}
    assert "which axis tells them apart" in anatomy.skipped[0].reason


def test_queries_keys_and_values_of_a_convolution_are_a_kernel():
    _, found = taken({"attn.qkv.weight": torch.randn(24, 8, 1), "attn.qkv.bias": torch.ones(24)})
    assert tuple(found["attn.qkv"].shape) == (24, 8)
