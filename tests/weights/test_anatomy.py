"""Tensors of many kinds of models fall into the matrices that the models compute with."""

import pytest
import torch
from torch import nn

from transformer_spectrum.weights.anatomy.dissection import dissect
from transformer_spectrum.weights.anatomy.fused import key_heads
from transformer_spectrum.weights.anatomy.habits import family_of
from transformer_spectrum.weights.matrices.heads import heads

NAMES = {
    "encoder.layer.0.attention.self.query.weight": "query",
    "encoder.layer.0.attention.output.dense.weight": "attention_output",
    "encoder.layer.0.intermediate.dense.weight": "feed_forward_up",
    "encoder.layer.0.output.dense.weight": "feed_forward_down",
    "embeddings.word_embeddings.weight": "token_embedding",
    "embeddings.token_type_embeddings.weight": "type_embedding",
    "embeddings.position_embeddings.weight": "position_embedding",
    "cls.predictions.decoder.weight": "readout",
    "pooler.dense.weight": "other",
    "transformer.h.3.attn.c_attn.weight": "query_key_value",
    "transformer.h.3.attn.c_proj.weight": "attention_output",
    "transformer.h.3.mlp.c_fc.weight": "feed_forward_up",
    "transformer.h.3.mlp.c_proj.weight": "feed_forward_down",
    "transformer.wte.weight": "token_embedding",
    "transformer.wpe.weight": "position_embedding",
    "model.layers.1.self_attn.k_proj.weight": "key",
    "model.layers.1.self_attn.o_proj.weight": "attention_output",
    "model.layers.1.mlp.gate_proj.weight": "feed_forward_gate",
    "model.layers.1.mlp.up_proj.weight": "feed_forward_up",
    "model.layers.1.mlp.down_proj.weight": "feed_forward_down",
    "model.layers.1.mlp.gate.weight": "router",
    "lm_head.weight": "readout",
    "encoder.block.0.layer.0.SelfAttention.o.weight": "attention_output",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "position_embedding",
    "decoder.block.0.layer.1.EncDecAttention.v.weight": "cross_value",
    "decoder.block.0.layer.2.DenseReluDense.wo.weight": "feed_forward_down",
    "layers.0.self_attn.in_proj_weight": "query_key_value",
    "layers.0.multihead_attn.in_proj_weight": "cross_query_key_value",
    "layers.0.self_attn.out_proj.weight": "attention_output",
    "layers.0.linear2.weight": "feed_forward_down",
    "blocks.0.attn.qkv.weight": "query_key_value",
    "blocks.0.attn.proj.weight": "attention_output",
    "blocks.0.mlp.fc1.weight": "feed_forward_up",
    "transformer.layer.0.attention.q_lin.weight": "query",
    "transformer.layer.0.ffn.lin1.weight": "feed_forward_up",
    "h.0.self_attention.dense.weight": "attention_output",
    "h.0.mlp.dense_4h_to_h.weight": "feed_forward_down",
    "decoder.0.cross_attention.output.weight": "cross_attention_output",
    "decoder.0.feed_forward.contract.weight": "feed_forward_down",
    "readout.weight": "readout",
    "fc.weight": "readout",
}


@pytest.mark.parametrize(("name", "family"), NAMES.items())
def test_names_of_well_known_models_tell_the_family(name, family):
    assert family_of(name).label == family


def test_a_w1_beside_a_w3_is_a_gate_and_without_one_it_is_not():
    name = "layers.0.feed_forward.w1.weight"
    assert family_of(name, [name, "layers.0.feed_forward.w3.weight"]).label == "feed_forward_gate"
    assert family_of(name, [name, "layers.0.feed_forward.w2.weight"]).label == "feed_forward_up"


def matrices_of(tensors, config=None, metadata=None):
    anatomy = dissect({name: tuple(tensor.shape) for name, tensor in tensors.items()}, config or {}, metadata)
    return anatomy, {matrix.name: matrix.within(tensors[matrix.tensor]) for matrix in anatomy.matrices}


def test_multihead_attention_is_cut_where_torch_cuts_it():
    """Oracle: torch's own attention with these matrices applied one by one."""
    torch.manual_seed(0)
    module = nn.MultiheadAttention(6, 2, batch_first=True)
    x = torch.randn(1, 5, 6)
    _, found = matrices_of({f"attn.{name}": tensor for name, tensor in module.state_dict().items()})
    query, key, value = (x @ found[f"attn.in_proj.{role}"].T for role in ("query", "key", "value"))
    split = [tensor.unflatten(-1, (2, 3)).transpose(1, 2) for tensor in (query, key, value)]
    mixed = nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
    torch.testing.assert_close(mixed @ found["attn.out_proj"].T, module(x, x, x)[0])


def test_lstm_gates_are_cut_where_torch_cuts_them():
    """Oracle: one step of torch's LSTM, its gates computed from the parts."""
    torch.manual_seed(0)
    module = nn.LSTM(3, 4, bias=False)
    x, h, c = torch.randn(1, 1, 3), torch.randn(1, 1, 4), torch.randn(1, 1, 4)
    _, found = matrices_of({f"rnn.{name}": tensor for name, tensor in module.state_dict().items()})
    names = ("input_gate", "forget_gate", "cell_gate", "output_gate")
    i, f, g, o = (x @ found[f"rnn.ih_l0.{name}"].T + h @ found[f"rnn.hh_l0.{name}"].T for name in names)
    cell = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    torch.testing.assert_close(torch.sigmoid(o) * torch.tanh(cell), module(x, (h, c))[0].detach())


@pytest.mark.parametrize(
    ("module", "gates"), [(nn.GRU(3, 4), 3), (nn.RNN(3, 4), 1), (nn.LSTM(3, 4, proj_size=2), 4), (nn.LSTMCell(3, 4), 4)]
)
def test_every_recurrent_module_has_its_gates(module, gates):
    anatomy, found = matrices_of(module.state_dict())
    inputs = [matrix for matrix in anatomy.matrices if matrix.family.label == "recurrent_input"]
    assert len(inputs) == gates
    assert {tuple(found[matrix.name].shape) for matrix in inputs} == {(4, 3)}


def test_the_lstm_of_this_project_has_its_gates():
    tensors = {"encoder.0.input.weight": torch.randn(16, 3), "encoder.0.state.weight": torch.randn(16, 4)}
    anatomy, found = matrices_of(tensors)
    assert [matrix.family.label for matrix in anatomy.matrices] == ["recurrent_input"] * 4 + ["recurrent_state"] * 4
    assert torch.equal(found["encoder.0.state.forget_gate"], tensors["encoder.0.state.weight"][4:8])


HEADS, GROUPS, WIDTH, INPUTS = 4, 2, 3, 12


def fused_by(kind):
    """Weights of queries, keys and values, and the fused tensor as the model of that kind views its output."""
    generator = torch.Generator().manual_seed(0)
    keys = {"interleaved": HEADS, "one key": 1}.get(kind, GROUPS)
    query = torch.randn(HEADS, WIDTH, INPUTS, generator=generator)
    key, value = torch.randn(2, keys, WIDTH, INPUTS, generator=generator)
    if kind == "interleaved":
        fused = torch.stack([query, key, value], 1).flatten(0, 2)
    elif kind == "grouped":
        grouped = query.unflatten(0, (keys, HEADS // keys))
        fused = torch.cat([grouped, key[:, None], value[:, None]], 1).flatten(0, 2)
    else:
        fused = torch.cat([query, key, value]).flatten(0, 1)
    return fused, [tensor.flatten(0, 1) for tensor in (query, key, value)]


SIZES = {"num_attention_heads": HEADS, "hidden_size": HEADS * WIDTH}


@pytest.mark.parametrize(
    ("kind", "name", "config"),
    [
        ("interleaved", "h.0.self_attention.query_key_value", {"model_type": "bloom", "n_head": 4, "hidden_size": 12}),
        ("interleaved", "layers.0.attention.query_key_value", {"model_type": "gpt_neox", **SIZES}),
        ("interleaved", "h.0.self_attention.query_key_value", {"model_type": "falcon", **SIZES}),
        ("interleaved", "deberta.layer.0.attention.self.in_proj", {"model_type": "deberta", **SIZES}),
        ("one key", "h.0.self_attention.query_key_value", {"model_type": "falcon", "multi_query": True, **SIZES}),
        (
            "grouped",
            "h.0.self_attention.query_key_value",
            {"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": GROUPS, **SIZES},
        ),
        ("grouped", "layers.0.attention.wqkv", {"model_type": "internlm2", "num_key_value_heads": GROUPS, **SIZES}),
        ("groups", "layers.0.self_attn.qkv_proj", {"model_type": "phi3", "num_key_value_heads": GROUPS, **SIZES}),
        (
            "groups",
            "layers.0.self_attention.query_key_value",
            {"model_type": "chatglm", "multi_query_attention": True, "multi_query_group_num": GROUPS, **SIZES},
        ),
        ("one key", "h.0.attn.c_attn", {"model_type": "gpt_bigcode", "multi_query": True, **SIZES}),
        (
            "groups",
            "language.layers.0.self_attn.qkv_proj",
            {"model_type": "vlm", "text_config": {"model_type": "phi3", "num_key_value_heads": GROUPS, **SIZES}},
        ),
    ],
)
def test_fused_tensors_are_cut_by_the_layout_that_the_configuration_states(kind, name, config):
    fused, expected = fused_by(kind)
    _, found = matrices_of({f"{name}.weight": fused}, config)
    for role, tensor in zip(("query", "key", "value"), expected, strict=True):
        assert torch.equal(found[f"{name}.{role}"], tensor)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("h.0.attention.query_key_value", {}),
        ("layers.0.self_attn.qkv_proj", {}),
        ("layers.0.self_attn.qkv_proj", {"model_type": "codegen", **SIZES}),
        ("h.0.attention.query_key_value", {"model_type": "bloom", "n_head": 5, "hidden_size": 12}),
        ("blocks.0.attn.qkv", {}),
    ],
)
def test_a_fused_tensor_of_unknown_layout_stays_in_one_piece_and_says_so(name, config):
    anatomy, found = matrices_of({f"{name}.weight": torch.randn(36, 12)}, config)
    assert list(found) == [name]
    assert name in anatomy.notes[0]
    assert "left in one piece" in anatomy.notes[0]


def test_a_mamba_in_proj_is_no_attention():
    anatomy, found = matrices_of({"layers.0.mixer.in_proj.weight": torch.randn(36, 12)}, {"model_type": "mamba"})
    assert list(found) == ["layers.0.mixer.in_proj"]
    assert anatomy.notes == []


def test_the_qkv_of_timm_is_known_by_the_proj_beside_it():
    tensors = {"blocks.0.attn.qkv.weight": torch.randn(36, 12), "blocks.0.attn.proj.weight": torch.randn(12, 12)}
    _, found = matrices_of(tensors)
    assert torch.equal(found["blocks.0.attn.qkv.key"], tensors["blocks.0.attn.qkv.weight"][12:24])


@pytest.mark.parametrize("config", [{}, {"model_type": "gpt2", "n_head": 2, "n_embd": 6}])
def test_conv1d_and_linear_give_the_same_matrices(config):
    linear = {
        "h.0.attn.c_attn.weight": torch.randn(18, 6),
        "h.0.attn.c_proj.weight": torch.randn(6, 6),
        "h.0.mlp.c_fc.weight": torch.randn(24, 6),
        "h.0.mlp.c_proj.weight": torch.randn(6, 24),
    }
    _, straight = matrices_of(linear)
    anatomy, turned = matrices_of({name: tensor.T.contiguous() for name, tensor in linear.items()}, config)
    assert straight.keys() == turned.keys()
    for name, matrix in straight.items():
        assert torch.equal(matrix, turned[name])
    assert all("transposed" in matrix.note for matrix in anatomy.matrices)


def test_the_causal_mask_that_gpt2_stores_is_no_matrix():
    anatomy, found = matrices_of({"h.0.attn.bias": torch.ones(1, 1, 8, 8), "h.0.attn.c_proj.weight": torch.ones(8, 8)})
    assert list(found) == ["h.0.attn.c_proj"]
    assert anatomy.skipped[0].reason == "a bias or a mask by its name"


def test_convolutions_are_flattened_and_vectors_counted():
    tensors = {
        "conv.weight": torch.randn(4, 3, 2, 2),
        "one.weight": torch.randn(1, 3, 2, 2),
        "temporal.weight": torch.randn(4, 3, 5),
        "pos_embed": torch.randn(1, 7, 4),
        "norm.weight": torch.randn(4),
        "cls_token": torch.randn(1, 1, 4),
        "scale": torch.tensor(1.0),
    }
    anatomy, found = matrices_of(tensors)
    assert {name: tuple(matrix.shape) for name, matrix in found.items()} == {
        "conv": (4, 12),
        "one": (1, 12),
        "temporal": (4, 15),
        "pos_embed": (7, 4),
    }
    assert anatomy.vectors == 3
    assert torch.equal(found["conv"][1], tensors["conv.weight"][1].flatten())


def test_experts_and_recorded_steps_are_stacks_of_matrices():
    stack = torch.randn(2, 6, 4)
    _, found = matrices_of({"layers.0.mlp.experts.down_proj": stack})
    assert torch.equal(found["layers.0.mlp.experts.down_proj.expert_1"], stack[1])
    _, found = matrices_of({"encoder.0.self_attention.query": stack}, metadata={"run": '{"steps": [0, 20]}'})
    assert torch.equal(found["encoder.0.self_attention.query@20"], stack[1])


def test_heads_are_rows_of_their_matrix_and_keys_have_as_many_as_the_configuration_says():
    query, key = torch.randn(12, 5), torch.randn(6, 5)
    tensors = {"layers.0.self_attn.q_proj.weight": query, "layers.0.self_attn.k_proj.weight": key}
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 12}
    anatomy, _ = matrices_of(tensors, config)
    found = {
        matrix.name: matrix.within(tensors[matrix.tensor])
        for matrix in heads(anatomy.matrices, 4, key_heads(4, config))
    }
    assert torch.equal(torch.cat([found[f"layers.0.self_attn.q_proj.head_{i}"] for i in range(4)]), query)
    assert torch.equal(torch.cat([found[f"layers.0.self_attn.k_proj.head_{i}"] for i in range(2)]), key)


@pytest.mark.parametrize(
    ("name", "count", "config", "rule"),
    [
        ("q_proj", 5, {}, "no multiple of 5"),
        ("q_proj", 3, {"num_attention_heads": 4, "hidden_size": 12}, "config.json says 4"),
    ],
)
def test_heads_that_do_not_fit_are_refused(name, count, config, rule):
    anatomy, _ = matrices_of({f"layers.0.self_attn.{name}.weight": torch.randn(12, 5)}, config)
    with pytest.raises(ValueError, match=rule):
        heads(anatomy.matrices, count, key_heads(count, config))
