"""The same parameters give the same bytes in another folder, locale, time zone, hash seed, and with other workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import hashlib, json, sys
from safetensors.numpy import load
from transformer_spectrum.config.load import parse_params, read_tree
from transformer_spectrum.config.tree import merge
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.work import WINDOWS_FILES, make_windows, measure, train_cells
from study_protocol import SMALL

ALGORITHMS = {
    "adam": ("adam", "adamw", "sgd", "lion", "soap", "muon"),
    "es": ("openai", "snes", "cma", "sep_cma"),
    "ga": (None,),
}
MEASURED = ("adam", "openai", None)  # spectra are computed alike whatever has trained; once for each family is enough
few = {"generations": 3, "popsize": 8}
content = merge(read_tree(sys.argv[1]), SMALL, {"training": {"workers": int(sys.argv[2])}, "es": few, "ga": few})
digests, windows = {}, {}
for optimizer, algorithms in ALGORITHMS.items():
    for algorithm in algorithms:
        if algorithm:
            content[optimizer]["algorithm"] = algorithm
        cell = Cell("sweep", "synthetic", "mse", optimizer, 1, parse_params(content))
        windows = windows or make_windows(cell, {})  # those of one seed are the same for every optimizer
        (training,) = train_cells([cell], [None], [0], {name: windows[name] for name in WINDOWS_FILES})
        # What says when and where it ran, and how long it took.
        decided = {name: data for name, data in training.items() if name not in ("run.json", "seconds.tsv")}
        spectra = measure(cell, False, training) if algorithm in MEASURED else {}
        for name, data in (windows | decided | spectra).items():
            if name.endswith(".safetensors"):  # whose header says with how many workers, too
                data = b"".join(name.encode() + tensor.tobytes() for name, tensor in sorted(load(data).items()))
            digests[f"{optimizer} {algorithm} {name}"] = hashlib.sha256(data).hexdigest()
print(json.dumps(digests))
"""


def digests(folder, workers, **surroundings):
    folder.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", **surroundings}
    arguments = [sys.executable, "-c", SCRIPT, ROOT / "params.yaml", str(workers)]
    process = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.slow
def test_every_optimizer_gives_the_same_bytes_in_other_surroundings(tmp_path):
    usual = digests(tmp_path / "here", 1, LC_ALL="C", TZ="UTC", PYTHONHASHSEED="0")
    far = {"LC_ALL": "C.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4242"}
    other = digests(tmp_path / "a folder elsewhere/ünd deeper", 2, **far)
    assert len({name.rpartition(" ")[0] for name in usual}) == 11  # optimizers
    assert len(usual) > 11 * 6
    assert other == usual
