"""The smallest study: two losses, two batch orders, three seeds, a network of a few hundred weights."""

from pathlib import Path

import yaml

SMALL = {
    "device": "cpu",
    "data": {
        "sequence_length": 24,
        "output_length": 8,
        "describe": {"fit_points": 100},
        "synthetic": {"series": 40, "length": 24, "kernel": {"size": 5}},
    },
    "model": {"embed_dim": 8, "heads": 2, "layers": 1, "feedforward_dim": 8, "patch_length": 4},
    "training": {"batch_size": 8, "snapshot_every": 1},
    "adam": {"epochs": 1},
    "spectra": {
        "tracked_every": 1,
        "tracked_at_most": 4,
        "shuffles": 3,
        "overlap_rank": 2,
        "farms_size": 4,
        "min_tail": 2,
    },
}
PROTOCOL = {
    "title": "the smallest study",
    "level": 0.05,
    "power": 0.8,
    "set": SMALL,
    "datasets": {"light": {"data": {"dataset": "synthetic"}}},
    "losses": {"mse": {"loss": {"type": "mse"}}, "mae": {"loss": {"type": "mae"}}},
    "optimizers": {"adam": {"trained_by": "adam", "rate": "adam.learning_rate", "rates": [0.001, 0.003]}},
    "treatments": {"again": {"batch_order": 1}},
    "endpoints": {"primary": ["change_log_stable_rank"], "secondary": ["spectral_entropy"]},
    "axes": ["evaluations", "distance", "updates"],
    "tuning_blocks": ["tuning", "tuning_margins"],
    "blocks": {
        "tuning": {
            "datasets": ["light"],
            "losses": ["mse", "mae"],
            "optimizers": ["adam"],
            "rates": "all",
            "seeds": {"first": 101, "count": 1},
        },
        "tuning_margins": {
            "datasets": ["light"],
            "losses": ["mse"],
            "optimizers": ["adam"],
            "treatments": ["none", "again"],
            "rates": 0.003,
            "seeds": {"first": 101, "count": 2},
        },
        "losses": {
            "datasets": ["light"],
            "losses": ["mse", "mae"],
            "optimizers": ["adam"],
            "rates": "tuned",
            "seeds": {"first": 1, "count": 3},
        },
        "controls": {
            "datasets": ["light"],
            "losses": ["mse"],
            "optimizers": ["adam"],
            "treatments": ["none", "again"],
            "rates": "tuned",
            "seeds": {"first": 1, "count": 3},
        },
    },
    "contrasts": [
        {
            "name": "A/A",
            "block": "controls",
            "dataset": "light",
            "first": "adam-mse-again",
            "second": "adam-mse",
            "expected": "null",
        },
        {"name": "MAE - MSE", "block": "losses", "dataset": "light", "first": "adam-mae", "second": "adam-mse"},
    ],
}
CLAIM = {
    "statement": "training makes spikes",
    "sources": [{"reference": "made up", "read": "text", "says": "so"}],
    "block": "losses",
    "dataset": "light",
    "first": "adam-mse",
    "second": "zero",
    "endpoint": "mp_spikes",
    "axis": "evaluations",
    "confirmed_if": ["above"],
    "refuted_if": ["below", "equal"],
}
FOLLOWED_CLAIM = {**CLAIM, "statement": "ranks fall", "endpoint": "spectral_entropy_gain", "axis": "end"}


def write_claims(folder):
    folder.mkdir(parents=True)
    for name, claim in (("ranks", FOLLOWED_CLAIM), ("spikes", CLAIM)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(claim))


def write_protocol(folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "protocol.yaml").write_text(yaml.safe_dump({**PROTOCOL, **changes}, sort_keys=False))


def study_stages() -> list[str]:
    """tuning, run, ...: the stages of studies/dvc.yaml, in its order."""
    stages = yaml.safe_load((Path(__file__).parents[1] / "studies/dvc.yaml").read_text())["stages"]
    return [name.removeprefix("study-") for name in stages]
