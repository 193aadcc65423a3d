"""Trains on a GPU that is pretended and on the CPU, and prints as JSON what differs.

    python tests/pretended_trainings.py

A process of its own, since torch is another one afterwards: see `pretend_gpu.py`.
"""

import json
import tempfile
from pathlib import Path

import torch
from pretend_gpu import GPU, OPERATIONS, TRANSFERS
from safetensors.torch import load_file
from small_members import METHODS, Killed, jobs_in, members_of, record

from transformer_spectrum.training import build
from transformer_spectrum.training.capture import Captured
from transformer_spectrum.training.loop import fit
from transformer_spectrum.training.train import train_all

ROUNDS = {"adam": "adam.epochs", "es": "es.generations", "ga": "ga.generations"}
MORE = {"adam": {"training.batch_size": 4}, "es": {"es.popsize": 12}, "ga": {"ga.popsize": 12}}
"""Twice as many updates an epoch, or candidates a generation."""


def apart(values, others):
    """The largest difference, relative to the largest value."""
    values, others = (torch.as_tensor(some).cpu().double() for some in (values, others))
    return float((values - others).abs().max() / values.abs().max())


def trained(optimizer, shared, device):
    return fit(members_of(optimizer, device=device, **shared))


def differences(optimizer, shared):
    """Between the two devices, over all members."""
    pairs = list(zip(*(trained(optimizer, shared, device) for device in ("cpu", "cuda")), strict=True))
    return {
        "validation": max(
            apart(on_cpu.history.validation_loss, on_gpu.history.validation_loss) for on_cpu, on_gpu in pairs
        ),
        "weights": max(apart(on_cpu.last, on_gpu.last) for on_cpu, on_gpu in pairs),
        "on_gpu": all(on_gpu.last.device == GPU for _, on_gpu in pairs),
        "stops": [on_cpu.stop_cause == on_gpu.stop_cause for on_cpu, on_gpu in pairs],
    }


def transfers(optimizer, shared, more):
    """Of two epochs or generations behind the second."""
    counts = []
    for rounds in (2, 4):
        settings = {ROUNDS[optimizer]: rounds, "loss.scale": "fixed", "budget.evaluations": None}
        changes = [{"seed": seed, "loss.type": "cauchy"} for seed in (1, 2, 3)]
        members = members_of(optimizer, changes, device="cuda", **{**shared, **settings, **more})
        TRANSFERS.clear()
        fit(members)
        counts.append(dict(TRANSFERS))
    return {way: counts[1][way] - counts[0][way] for way in counts[1]}


def resumed(optimizer, shared):
    """Whether a training that was killed goes on to the same bits."""

    seen = []

    def die(record):
        seen.append(record.step)
        if len(seen) == 13:
            raise Killed

    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(members_of(optimizer, folder=Path(folder), observe=die, device="cuda", **shared))
        except Killed:
            results = fit(members_of(optimizer, folder=Path(folder), device="cuda", **shared))
    others = trained(optimizer, shared, "cuda")
    same = [torch.equal(result.last.cpu(), other.last.cpu()) for result, other in zip(results, others, strict=True)]
    return all(same) and any(result.resumed_at for result in results)


def files():
    """Of trainings whose results are written: how far their weights and forecasts are apart, and what they say."""
    with tempfile.TemporaryDirectory() as name:
        jobs = {device: jobs_in(Path(name), device, device=device) for device in ("cpu", "cuda")}
        reasons = [reason for made in jobs.values() for reason in train_all(made)]
        runs = [json.loads((job.models / "run.json").read_text()) for job in jobs["cuda"]]
        tensors = [[load_file(job.models / "last.safetensors") for job in made] for made in jobs.values()]
        weights = [apart(on_cpu[key], on_gpu[key]) for on_cpu, on_gpu in zip(*tensors, strict=True) for key in on_cpu]
    return {"reasons": reasons, "weights": max(weights), "devices": [run["device"] for run in runs]}


def refused():
    """What is said of numbers of two devices in one operation."""
    try:
        torch.ones(2, device=GPU) + torch.ones(2)
    except RuntimeError as error:
        return str(error)


def main():
    build.device = lambda name: GPU if name == "cuda" else torch.device(name)
    plain = Captured.__init__
    # What a GPU records in graphs is recorded on a tape.
    Captured.__init__ = lambda self, function, device, say: plain(
        self, function, device, say, record if device == GPU else None
    )
    answers = {}
    for optimizer, shared in METHODS:
        answers["-".join([optimizer, *map(str, shared.values())])] = {
            **differences(optimizer, shared),
            "transfers": transfers(optimizer, shared, {}),
            "transfers of more": transfers(optimizer, shared, MORE[optimizer]),
        }
    firsts = dict(reversed(METHODS))
    goes_on = {optimizer: resumed(optimizer, shared) for optimizer, shared in firsts.items()}
    others = {"resumed": goes_on, "files": files(), "refused": refused(), "operations": sorted(OPERATIONS)}
    print(json.dumps({"methods": answers, **others}))


if __name__ == "__main__":
    main()
