"""What a look at a model costs as a whole process: `analyze` beside WeightWatcher, on a generated model of 39 layers.

    python benchmarks/processes.py [--rounds 3]

Processor seconds of the process and its imports (user and system), which other load on the machine hardly changes;
medians over rounds in which the commands take turns.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

LAYERS, WIDTH, TOKENS, POSITIONS = 6, 256, 4000, 512
PEER = (
    "import sys, torch, logging; logging.disable(logging.CRITICAL); import weightwatcher;"
    "weightwatcher.WeightWatcher(model=torch.load(sys.argv[1])).analyze()"
)


def model() -> dict[str, torch.Tensor]:
    """BERT's names and shapes: noise and a few directions of falling size in every matrix."""
    generator = torch.Generator().manual_seed(1)

    def weight(rows: int, columns: int) -> torch.Tensor:
        left, right = (torch.randn(n, 40, generator=generator) for n in (rows, columns))
        noise = torch.randn(rows, columns, generator=generator)
        return (noise + left * torch.linspace(1.0, 0.0, 40) @ right.T) / columns**0.5

    attention = [f"attention.{name}" for name in ("self.query", "self.key", "self.value", "output.dense")]
    shapes = {"embeddings.word_embeddings": (TOKENS, WIDTH), "embeddings.position_embeddings": (POSITIONS, WIDTH)}
    for i in range(LAYERS):
        shapes |= {f"encoder.layer.{i}.{name}": (WIDTH, WIDTH) for name in attention}
        shapes[f"encoder.layer.{i}.intermediate.dense"] = (4 * WIDTH, WIDTH)
        shapes[f"encoder.layer.{i}.output.dense"] = (WIDTH, 4 * WIDTH)
    shapes["pooler.dense"] = (WIDTH, WIDTH)
    return {f"{name}.weight": weight(*shape) for name, shape in shapes.items()}


def seconds(command: list[str]) -> float:
    """Processor seconds of a command and what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "model.pt", Path(folder) / "out"
        torch.save(model(), path)
        analyze = [sys.executable, "-W", "ignore", "-m", "transformer_spectrum.cli", "analyze", str(path)]
        commands = {
            "WeightWatcher 0.7.7": [sys.executable, "-W", "ignore", "-c", PEER, str(path)],
            "`--shuffles 0 --like weightwatcher`": [*analyze, "--shuffles", "0", "--like", "weightwatcher"],
            "`--shuffles 0`": [*analyze, "--shuffles", "0"],
            "`--shuffles 0 --out`": [*analyze, "--shuffles", "0", "--out", str(out)],
            "`--shuffles 3`": [*analyze, "--shuffles", "3"],
            "`--shuffles 3 --out`": [*analyze, "--shuffles", "3", "--out", str(out)],
            "the default, `--out`": [*analyze, "--out", str(out)],
        }
        spent: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                spent[name].append(seconds(command))
        page = (out / "index.html").stat().st_size
    peer = statistics.median(spent["WeightWatcher 0.7.7"])
    print("| process | processor seconds | / WeightWatcher |\n| --- | --- | --- |")
    for name, values in spent.items():
        print(f"| {name} | {statistics.median(values):.1f} | {statistics.median(values) / peer:.2f} |")
    print(f"\nThe page of the default: {page / 1e3:.0f} kB.")


if __name__ == "__main__":
    main()
