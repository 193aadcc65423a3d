"""Which matrices make one attention."""

import pytest

from transformer_spectrum.weights.anatomy.dissection import dissect
from transformer_spectrum.weights.matrices.attentions import (
    NO_PARTNERS,
    SHARED_OUTPUT,
    TWO_PARTNERS,
    attentions,
)
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Matrix

ROLES = ("query", "key", "value", "attention_output")


def named(*names, roles=ROLES):
    return [Matrix(name, Family(role), name, (4, 4)) for name, role in zip(names, roles, strict=True)]


LAYOUTS = {
    "this project": [f"encoder.{i}.self_attention.{name}.weight" for i in (0, 1) for name in (*ROLES[:3], "output")],
    "llama": [f"model.layers.{i}.self_attn.{name}_proj.weight" for i in (0, 1) for name in "qkvo"],
    "bert": [
        f"encoder.layer.{i}.attention.{name}.weight"
        for i in (0, 1)
        for name in ("self.query", "self.key", "self.value", "output.dense")
    ],
    "torch": [f"layers.{i}.self_attn.{name}" for i in (0, 1) for name in ("in_proj_weight", "out_proj.weight")],
    "diffusers": [f"blocks.{i}.attn1.{name}.weight" for i in (0, 1) for name in ("to_q", "to_k", "to_v", "to_out.0")],
    "t5": [f"encoder.block.{i}.layer.0.SelfAttention.{name}.weight" for i in (0, 1) for name in "qkvo"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layer_of_a_usual_layout_has_its_attention(layout):
    names = LAYOUTS[layout]
    shapes = {name: (48, 16) if "in_proj" in name else (16, 16) for name in reversed(names)}
    pairs, reasons = attentions(dissect(shapes, {}).matrices)
    assert not reasons
    assert len({attention.name for attention in pairs}) == 2
    for attention in pairs:
        assert [matrix.family.role for matrix in attention.factors] == list(ROLES)
        assert all(matrix.name.startswith(f"{attention.name}.") for matrix in attention.factors)


def test_self_attention_and_attention_across_are_told_apart():
    names = [f"decoder.0.{kind}_attention.{name}" for kind in ("self", "cross") for name in (*ROLES[:3], "output")]
    matrices = named(*names, roles=(*ROLES, *(f"cross_{role}" for role in ROLES)))
    pairs, reasons = attentions(matrices)
    assert [attention.name for attention in pairs] == ["decoder.0.self_attention", "decoder.0.cross_attention"]
    assert not reasons


def test_what_is_not_certain_has_a_reason_in_its_place():
    lacking = named("a.q", "a.k", "b.c.v", "a.o")
    assert attentions(lacking) == ([], {"a.q": NO_PARTNERS.format(lacking="value")})
    twice = [*named("a.q", "a.k", "a.v", "a.o"), Matrix("a.out", Family("attention_output"), "a.out", (4, 4))]
    assert attentions(twice) == ([], {"a.q": TWO_PARTNERS.format(lacking="output")})
    other_layer = named("layers.0.q", "layers.0.k", "layers.0.v", "layers.1.o")
    assert attentions(other_layer)[1] == {"layers.0.q": NO_PARTNERS.format(lacking="output")}
    first, second = named("x.a.q", "x.a.k", "x.a.v", "x.o"), named("x.b.q", "x.b.k", "x.b.v", "x.o")[:3]
    assert attentions([*first, *second]) == ([], {"x.a.q": SHARED_OUTPUT, "x.b.q": SHARED_OUTPUT})
    assert attentions([]) == ([], {})
