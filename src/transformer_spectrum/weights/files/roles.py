"""What the keys around a tensor say of it: a model, a copy of one, data, or the state of a training.

Keys are habits, no proof: they decide what is preferred, and what is not taken is listed by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

Role = Literal["", "model", "copy", "data", "training"]

NEAR = 2  # keys from the top that say what a dictionary is for; further down they may name layers
_OPTIMIZER_ENTRIES = re.compile(
    r"(^|\.)(exp_avg|exp_avg_sq|exp_avg_sq_row|exp_avg_sq_col|exp_avg_diff|exp_inf|max_exp_avg_sq|momentum_buffer|"
    r"square_avg|grad_avg|acc_delta|prev_grad|fp32_flat_groups|single_partition_of_fp32_groups)$"
)
_OPTIMIZER = re.compile(r"optim|sched")
_TRAINING = re.compile(
    r"optim|sched|(^|_)(opts?|grad_scaler|amp|rng|random|seeds?|callbacks?|loops?|grads?|gradients?)(_|$)"
)
_COPY = re.compile(
    r"(^|_)(ema|swa|shadow\w*|averaged?|avg|teacher|target|momentum|best|last|old|prev\w*|init\w*|backup|disc|"
    r"discriminators?|netd|net_d|d|critics?|ref|reference|frozen|slow|copy)(_|$)|discriminator|_ema|^ema"
)
_DATA = re.compile(
    r"(^|_)(metrics?|stats?|statistics|mean|std|normali[sz]ers?|scalers?|confusion\w*|loss(es)?|histor\w*|logs?|maps?|"
    r"queue|replay|cache|data(set)?|samples?|batch|inputs?|outputs?|targets?|labels?|results?|eval\w*|buffers?)(_|$)"
)
_MODEL = re.compile(
    r"(^|_)(models?|modules?|nets?|networks?|params?|parameters|weights?|generator|gen|netg|g|student|actor|policy|"
    r"online|backbone|modelstate)(_|$)|state_dict|model$|net$"
)
_NO_BRANCH = re.compile(  # below a model's key: layers have all sorts of names, such as "output" and "last"
    r"optim|sched|state_dict|(^|_)(ema|swa|shadow|teacher|discriminator)(_|$)"
)
_WEIGHT = re.compile(r"weight|kernel|embed|proj|qkv|lora_|original\d|^w\d*$|^u\d*$")


def role_of(keys: Iterable[str]) -> Role:
    """What dictionaries with these keys around them hold; empty where no habit covers it.

    >>> role_of(["state_dict_ema"]), role_of(["netG"]), role_of(["optimizers", "0"]), role_of(["encoder"])
    ('copy', 'model', 'training', '')
    """
    words = _words(keys)
    patterns: tuple[tuple[Role, re.Pattern[str]], ...] = (
        ("training", _TRAINING),
        ("copy", _COPY),
        ("data", _DATA),
        ("model", _MODEL),
    )
    return next((role for role, pattern in patterns if any(pattern.search(word) for word in words)), "")


def is_training(keys: Sequence[str], name: str) -> bool:
    """Whether a tensor of this name, with these keys around it, is the state of an optimizer or a training.

    >>> is_training(["optimizer", "state"], "exp_avg"), is_training(["model"], "fc.weight")
    (True, False)
    """
    if _OPTIMIZER_ENTRIES.search(name) or role_of(keys[:NEAR]) == "training":
        return True
    return any(_OPTIMIZER.search(word) for word in _words(keys[NEAR:]))


def is_branch(keys: Sequence[str], *, at_the_top: bool, has_weights: bool) -> bool:
    """Whether a dictionary below another may be a layer of a model; a key at the top says more than later ones.

    >>> [is_branch([key], at_the_top=True, has_weights=True) for key in ("ema_model", "encoder")]
    [False, True]
    """
    role = role_of(keys[:1]) if at_the_top else ""
    if role and not (role == "data" and has_weights):  # a layer may be called "output"
        return False
    return not any(_NO_BRANCH.search(word) for word in _words(keys))


def is_weight(name: str) -> bool:
    """Whether the last word of a tensor's name is one of those that weights have.

    >>> is_weight("fc.weight"), is_weight("step")
    (True, False)
    """
    return bool(_WEIGHT.search(name.rsplit(".", 1)[-1].lower()))


def _words(keys: Iterable[str]) -> list[str]:
    """Keys in lower case with one underscore between words and for numbers: "netG2" -> "net_g_"."""
    return [re.sub(r"[\W\d_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)).lower() for key in keys]
