"""Small trainings side by side, which tests of ensembles have in common."""

import json
from pathlib import Path

import numpy as np
import torch
import yaml

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import parse_params
from transformer_spectrum.data.windows.arrays import Windows, pack
from transformer_spectrum.runtime.files import write_arrays, write_json
from transformer_spectrum.training import build
from transformer_spectrum.training.recording import Budget
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.setup import Setup
from transformer_spectrum.training.train import Job

COMMITTED = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
SMALL = {
    "device": "cpu",
    "model.embed_dim": 8,
    "model.heads": 2,
    "model.layers": 1,
    "model.feedforward_dim": 12,
    "model.patch_length": 4,
    "training.batch_size": 8,
    "training.workers": 1,
    "training.snapshot_every": 2,
    "adam.epochs": 4,
    "es.generations": 5,
    "es.popsize": 6,
    "ga.generations": 5,
    "ga.popsize": 6,
}
MEMBERS = [
    {"seed": 1, "loss.type": "mse"},
    {"seed": 2, "loss.type": "sgt", "loss.q": 1.5},
    {"seed": 1, "loss.type": "cauchy", "loss.scale": "residual", "adam.learning_rate": 0.01},
    {"seed": 3, "loss.type": "sgt", "loss.q": 5.0, "adam.gradient_clip": 0.5, "es.sigma": 0.1, "ga.spread": 0.1},
    {"seed": 4, "loss.type": "mae", "loss.scale": "fixed", "budget.evaluations": 20},
]
COUNTS = (21, 21, 21, 13, 40)
"""Training windows of each member: the fourth has fewer batches than the others, the last more."""


def params_of(**changes):
    content = json.loads(json.dumps(COMMITTED))
    for name, value in {**SMALL, **changes}.items():
        tree.put(content, name, value)
    return parse_params(content)


def splits_of(seed, count):
    generator = np.random.default_rng(seed)

    def windows(count):
        values = np.cumsum(generator.standard_t(3, (count, 24, 1)), axis=1).astype(np.float32) / 3
        ones = np.ones((count, 1, 1), np.float32)
        return Windows(values[:, :16], values[:, 16:], 0 * ones, ones, np.array(["AT"] * count), np.zeros(count, int))

    return {"train": windows(count), "validation": windows(9), "test": windows(5)}


def members_of(optimizer, changes=MEMBERS, folder=None, observe=lambda record: None, **shared):
    members = []
    for number, own in enumerate(changes):
        params = params_of(**shared, **own)
        setup = Setup.of(params, splits_of(params.seed, COUNTS[number]))
        search = build.searcher(params, optimizer, setup.layout)
        files = None if folder is None else ResumeFiles(folder / str(number), {})
        budget = Budget(params.budget.evaluations)
        recording = build.recording(params, search)
        members.append(
            setup.member(optimizer, search, recording=recording, budget=budget, observe=observe, resume_files=files)
        )
    return members


METHODS = [
    ("adam", {"adam.algorithm": "adam"}),
    ("adam", {"adam.algorithm": "sgd", "model.dropout": 0.3}),
    ("adam", {"adam.algorithm": "adamw", "model.patch_length": 1, "model.embed_dim": 16}),
    ("adam", {"adam.algorithm": "muon", "adam.schedule": "cosine"}),
    ("adam", {"adam.algorithm": "soap"}),
    ("adam", {"adam.algorithm": "lion", "model.type": "lstm", "model.dropout": 0.2, "model.layers": 2}),
    ("es", {"es.algorithm": "openai"}),
    ("es", {"es.algorithm": "openai", "es.rank": 1, "model.type": "lstm"}),
    ("es", {"es.algorithm": "sep_cma"}),
    ("es", {"es.algorithm": "snes"}),
    ("es", {"es.algorithm": "cma"}),
    ("ga", {}),
    ("ga", {"ga.weights": "mean"}),
]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def job(folder, number, **changes):
    params = params_of(**MEMBERS[number], **changes)
    data = folder / f"data{number}"
    if not data.exists():
        data.mkdir()
        write_arrays(data / "windows.npz", pack(splits_of(params.seed, COUNTS[number])))
        write_json(data / "provenance.json", {"source": "standin", "standin": True, "sha256": "abc"})
    return data, params


def jobs_in(folder, name, **changes):
    jobs = []
    for number in range(3):
        data, params = job(folder, number, **changes)
        outputs = {kind: folder / name / kind / str(number) for kind in ("models", "metrics", "resume")}
        jobs.append(Job(params, "es", data / "windows.npz", provenance=data / "provenance.json", **outputs))
    return jobs


class Tape:
    """A recording that computes again when it is replayed, into the same memory, as a CUDA graph does."""

    made = 0

    def __init__(self, compute):
        self.compute, self.outputs = compute, compute()
        Tape.made += 1

    def replay(self):
        fresh = self.compute()
        with torch.inference_mode():
            for place, value in zip(self._flat(self.outputs), self._flat(fresh), strict=True):
                place.copy_(value)

    @staticmethod
    def _flat(outputs):
        return outputs if isinstance(outputs, tuple) else (outputs,)


def record(compute):
    tape = Tape(compute)
    return tape, tape.outputs
