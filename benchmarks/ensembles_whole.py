"""Whole trainings in processes, for ensembles.py: files in, files out, start-up included.

    python benchmarks/ensembles_whole.py JSON

Runs groups of trainings, each group in a process of its own, some at once, forked from a server that has imported
everything, as a study's are. Prints wall seconds, and the processor seconds of all those processes.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from contest import Sizes, plain_epochs, windows

SERVER = ("transformer_spectrum.training.train", "dvc.repo", "scmrepo.git", "torch._dynamo")
"""The last three are imported late, by DVCLive and torch's Adam."""
LOSSES = (
    {"type": "sgt", "sigma": 15.0, "q": 1.001},
    *({"type": "sgt", "q": q} for q in (5.0, 20.0, 75.0, 100.0)),
    {"type": "mse"},
    {"type": "mae"},
    {"type": "cauchy"},
)
"""The eight of a study."""


def write_windows(sizes: Sizes, folder: Path) -> None:
    """What `prepare` would have written."""
    from transformer_spectrum.data.windows.arrays import Windows, pack
    from transformer_spectrum.runtime.files import write_arrays, write_json

    counts = {"train": sizes.training_windows, "validation": sizes.validation_windows, "test": sizes.validation_windows}

    def split(count: int) -> Windows:
        context, target = windows(sizes, count)
        ones = np.ones((count, 1, 1), np.float32)
        return Windows(context, target, 0 * ones, ones, np.array(["noise"] * count), np.zeros(count, np.int64))

    write_arrays(folder / "windows.npz", pack({name: split(count) for name, count in counts.items()}))
    write_json(folder / "provenance.json", {"source": "noise", "standin": True, "sha256": ""})


def trainings_of(sizes: Sizes, epochs: int, count: int, checkout: Path, folder: Path) -> list[dict[str, Any]]:
    """The arguments of trainings that differ in seed and loss."""
    from transformer_spectrum.config.load import parse_params, read_tree

    trainings = []
    for number in range(count):
        content = read_tree(checkout / "params.yaml")
        content |= {"seed": number, "device": "cpu", "threads": 1}
        content["loss"] |= LOSSES[number % len(LOSSES)]
        content["data"] |= {"sequence_length": sizes.context + sizes.horizon, "output_length": sizes.horizon}
        content["model"] |= {"embed_dim": sizes.embed, "heads": sizes.heads, "layers": sizes.layers}
        content["model"] |= {"feedforward_dim": sizes.feedforward, "patch_length": sizes.patch}
        content["training"] |= {"batch_size": sizes.windows, "workers": 1}
        content["adam"] |= {"epochs": epochs}
        outputs = {kind: folder / str(number) / kind for kind in ("models", "metrics", "resume")}
        data = {"data": folder / "windows.npz", "provenance": folder / "provenance.json"}
        trainings.append({"params": parse_params(content), "optimizer": "adam", **data, **outputs})
    return trainings


def ours(trainings: list[dict[str, Any]]) -> float:
    """Trains them, side by side where there are several; processor seconds of this process."""
    import torch

    from transformer_spectrum.training.train import Job, train, train_all

    torch.set_num_threads(1)
    jobs = [Job(**training) for training in trainings]
    if len(jobs) == 1:
        train(jobs[0])
    elif any(reasons := train_all(jobs)):
        raise RuntimeError(reasons)
    return time.process_time()


def before(trainings: list[dict[str, Any]]) -> float:
    """Trains one by the package as it was before there were ensembles; processor seconds of this process."""
    import torch

    from transformer_spectrum.training.train import train

    torch.set_num_threads(1)
    (training,) = trainings
    train(**training)
    return time.process_time()


def plain(sizes: dict[str, Any], epochs: int) -> float:
    """One training of nn.Transformer, nothing recorded or written; processor seconds of this process."""
    import torch

    torch.set_num_threads(1)
    made = Sizes(**sizes)
    epoch = plain_epochs(made, made.validation_windows)
    for _ in range(epochs):
        epoch()
    return time.process_time()


def run(
    way: str, sizes: dict[str, Any], epochs: int, count: int, group: int, at_once: int, checkout: str
) -> dict[str, float]:
    """So many trainings in groups; `way` is ours, before or plain, `checkout` has the package's params.yaml."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_windows(Sizes(**sizes), folder)
        trainings = trainings_of(Sizes(**sizes), epochs, count, Path(checkout), folder)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(SERVER))
        with ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1) as pool:
            pool.submit(time.process_time).result()  # the server has imported everything
            started = time.perf_counter()
            if way == "plain":
                futures = [pool.submit(plain, sizes, epochs) for _ in range(count)]
            else:
                # Neighbours have other losses, as in a study that is cut by seeds.
                train = {"ours": ours, "before": before}[way]
                futures = [pool.submit(train, trainings[first : first + group]) for first in range(0, count, group)]
            spent = sum(future.result() for future in futures)
            seconds = time.perf_counter() - started
    return {"seconds": seconds, "processor_seconds": spent, "items": count}


if __name__ == "__main__":
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    asked = json.loads(sys.argv[1])
    asked["sizes"] = dataclasses.asdict(Sizes(**asked["sizes"]))
    print(json.dumps(run(**asked)))
