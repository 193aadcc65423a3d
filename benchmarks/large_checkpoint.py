"""Memory of `analyze` over a checkpoint of seven billion weights: a sparse file, 14 GB long, a few MB on the disk.

    python benchmarks/large_checkpoint.py [--billions 7]

Tensors are bfloat16: the weight matrices of one block of a language model of that size (four of 4096 x 4096, three of
11008 x 4096), whose spectra take longest, and as many of 65536 x 256 as it takes. The first row of each holds
numbers, all else is a hole, which reads as zeros. Peak memory is the process's own resident set, read from the system;
beside it stands that of the same command over a checkpoint of one tensor: the rest is what the size of the file costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

BLOCK = {f"layers.0.attention.{name}.weight": (4096, 4096) for name in ("query", "key", "value", "output")}
BLOCK |= {f"layers.0.feed_forward.{name}.weight": (11008, 4096) for name in ("gate", "up")}
BLOCK |= {"layers.0.feed_forward.down.weight": (4096, 11008)}
OTHERS = (65536, 256)
MIB = 2**20


def write_sparse(path: Path, shapes: dict[str, tuple[int, int]]) -> int:
    """A safetensors file of bfloat16 tensors whose first rows alone are written; how many weights it has."""
    header, at, places = {}, 0, []
    for name, (rows, columns) in shapes.items():
        size = 2 * rows * columns
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [at, at + size]}
        places.append((at, columns))
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        begin = stream.tell()
        for place, columns in places:
            stream.seek(begin + place)
            stream.write(torch.randn(columns, generator=generator).bfloat16().view(torch.int16).numpy().tobytes())
        stream.truncate(begin + at)
    return at // 2


def measured(path: Path) -> tuple[float, float, int]:
    """Peak resident MiB, seconds and matrices of `analyze` over a checkpoint, in a process of its own."""
    out = path.with_suffix("")
    command = [sys.executable, "-m", "transformer_spectrum.cli", "analyze", str(path), "--shuffles", "0"]
    began = time.monotonic()
    process = subprocess.Popen([*command, "--figures", "0", "--out", str(out)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"analyze ended with code {os.waitstatus_to_exitcode(status)}")
    matrices = (out / "matrices.csv").read_text().count("\n") - 1
    return usage.ru_maxrss / 1024, time.monotonic() - began, matrices


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--billions", type=float, default=7.0, help="weights; 7")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    block = sum(rows * columns for rows, columns in BLOCK.values())
    count = max(0, round((asked.billions * 1e9 - block) / (OTHERS[0] * OTHERS[1])))
    whole = BLOCK | {f"layers.{i}.adapter.weight": OTHERS for i in range(1, count + 1)}
    largest = {"layers.0.feed_forward.gate.weight": BLOCK["layers.0.feed_forward.gate.weight"]}
    print("| checkpoint | weights | length, MiB | on the disk, MiB | matrices | peak memory, MiB | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, shapes in (("its largest tensor alone", largest), ("all", whole)):
            path = Path(folder) / f"{name.split()[0]}.safetensors"
            weights = write_sparse(path, shapes)
            length, on_disk = path.stat().st_size / MIB, path.stat().st_blocks * 512 / MIB
            peak, seconds, matrices = measured(path)
            print(
                f"| {name} | {weights / 1e9:.2f} billion | {length:,.0f} | {on_disk:.1f} | {matrices} | {peak:,.0f} "
                f"| {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
