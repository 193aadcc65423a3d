"""What many small trainings gain by being one: trainings per hour by Adam, ours and others', as Markdown.

    python benchmarks/ensembles.py [--quick] [--peers PYTHON] [--before CHECKOUT] [--rounds N] [--only NAMES]

PYTHON is the interpreter of an environment with jax and optax (or the variable SEARCH_PEERS); without it their rows say
so. Contestants are processes with one thread on one core (contest.py) that take turns, an epoch each a round. Times are
processor seconds, which other load on the machine changes little; a ratio is the median over the rounds of ratios
within a round. The tables whole-* run whole trainings, from files to files, in processes of their own, two at once;
CHECKOUT is of a commit before there were ensembles (`git worktree add ../before afeec22`), whose package they run too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from contest import TINY, Sizes
from search import Contestant, contest, machine, reason, shown, table

HERE = Path(__file__).parent
EPOCHS = 60
"""Of a training, as in params.yaml."""
SAMPLED = {"training_windows": 224, "validation_windows": 48}
"""Windows of an epoch that is timed; a training's hours are those of 700 and 150."""
STUDY = Sizes(context=96, horizon=24)
CASES = {
    "study-32": ("the study's size: 96 + 24 steps, batches of 32", STUDY),
    "study-8": ("the study's size: 96 + 24 steps, batches of 8", dataclasses.replace(STUDY, windows=8)),
    "defaults": ("the defaults: 240 + 60 steps, batches of 32", Sizes()),
}
WHOLE = {"whole-study": ("the study's size, batches of 32", STUDY), "whole-defaults": ("the defaults", Sizes())}
MEMBERS = (1, 2, 4, 8, 16, 32, 64)
BEFORE = "before ensembles, a process each"
OURS, PEERS = "ensembles_ours.py", "ensembles_peers.py"


@dataclass
class Row(Contestant):
    """A contestant whose times are processor seconds."""

    def per_item(self) -> list[float]:
        return [sample["processor_seconds"] / sample["items"] for sample in self.samples]


def rows_of(sizes: Sizes, counts: tuple[int, ...], peers: str | None) -> list[Row]:
    """The plain way, ours alone and in ensembles, ours with spectra, JAX's."""
    rows = [Row("plain nn.Transformer, one after another", "plain", 1, sizes, script=OURS)]
    for spectra in (False, True):
        for count in counts if not spectra else sorted({1, min(8, counts[-1])}):
            label = f"ours, {count} as one{', spectra each epoch' if spectra else ''}"
            label = label if count > 1 else label.replace("1 as one", "one after another")
            rows.append(Row(label, "ours", 1, sizes, settings={"count": count, "spectra": spectra}, script=OURS))
    for count in sorted({1, min(8, counts[-1])}):
        label = f"JAX, vmap over {count}, optax"
        rows.append(Row(label, "jax_members", 1, sizes, peers, {"count": count}, script=PEERS))
    return rows


def ratio(row: Row, base: Row) -> float:
    """How many times as many trainings in an hour."""
    return median(theirs / own for own, theirs in zip(row.per_item(), base.per_item(), strict=True))


def scaling(title: str, sizes: Sizes, counts: tuple[int, ...], options: argparse.Namespace) -> None:
    """An epoch and its validation, by number of members."""
    rows = rows_of(sizes, counts, options.peers)
    contest(rows, options.rounds)
    plain, alone = rows[:2]
    print(
        f"### An epoch at {title}\n\n{sizes.weights:,} weights; {sizes.training_windows} windows, then a validation on"
    )
    print(f"{sizes.validation_windows}; a training is {EPOCHS} epochs of 700 and 150. One thread.\n")
    body = []
    for row in rows:
        if not row.samples:
            body.append([row.label, reason(row), "", "", ""])
            continue
        hours = EPOCHS * row.median() * 700 / sizes.training_windows / 3600
        gains = [shown(ratio(row, plain)), shown(ratio(row, alone))]
        body.append([row.label, shown(1000 * row.median()), shown(1 / hours), *gains])
    header = ["", "ms of a processor a member", "trainings an hour and core", "x plain", "x ours one after another"]
    print(table(header, body))


def memory(options: argparse.Namespace) -> None:
    """Of members with their windows, at its peak, above that of the imports."""
    cases = [("tiny", TINY)] if options.quick else [("the study's size", STUDY), ("the defaults", Sizes())]
    counts = (1, 2) if options.quick else (1, 8, 64)
    rows = [
        Row(f"{title}, {count}", "ours", 1, sizes, settings={"count": count, "spectra": True}, script=OURS)
        for title, sizes in cases
        for count in counts
    ]
    contest(rows, 1)
    print("### Memory\n\nPeak above that of the imports; windows, weights, Adam's state, activations and spectra.\n")
    totals = [row.facts["made_mib"] + row.mib() for row in rows]
    body = [
        [row.label, shown(total), shown(total / row.settings["count"])] for row, total in zip(rows, totals, strict=True)
    ]
    print(table(["", "MiB", "MiB a member"], body))


def whole(options: argparse.Namespace, names: list[str]) -> None:
    """Whole trainings in processes."""
    cases = [WHOLE[name] for name in names if name in WHOLE]
    for title, sizes in [("tiny", TINY)] if options.quick else cases:
        count, group = (4, 2) if options.quick else (16, 8)
        asked = {"sizes": dataclasses.asdict(sizes), "epochs": options.epochs, "count": count, "at_once": 2}
        asked["checkout"] = str(HERE.parent)
        ways: dict[str, dict[str, Any]] = {
            "plain nn.Transformer, a process each": {"way": "plain", "group": 1},
            "`train`, a process each": {"way": "ours", "group": 1},
            f"`train_all`, a process for {group}": {"way": "ours", "group": group},
        }
        if options.before:
            ways[BEFORE] = {"way": "before", "group": 1, "checkout": options.before}
        samples: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for number in range(options.whole_rounds):
            for way, settings in ways.items():
                samples[way].append(_in_processes({**asked, **settings}))
                print(f"  {title}, {way}, round {number + 1}: {samples[way][-1]}", file=sys.stderr)
        print(
            f"### Whole trainings, {title}\n\n{count} trainings of {options.epochs} epochs of {sizes.training_windows}"
        )
        print("windows under eight losses, all spectra, files written; two processes at once, start-up in it.\n")
        bases = {"`train`": "`train`, a process each"} | ({"before": BEFORE} if options.before else {})
        body = [
            [way, shown(median(sample["processor_seconds"] / count for sample in taken))]
            + [shown(median(sample["seconds"] / count for sample in taken))]
            + [
                shown(median(base[kind] / sample[kind] for base, sample in zip(samples[key], taken, strict=True)))
                for key in bases.values()
                for kind in ("processor_seconds", "seconds")
            ]
            for way, taken in samples.items()
        ]
        header = ["", "processor s a training", "wall s a training"]
        header += [f"x {base}, {kind}" for base in bases for kind in ("processor", "wall")]
        print(table(header, body))


def _in_processes(asked: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, str(HERE / "ensembles_whole.py"), json.dumps(asked)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(asked["checkout"]) / "src")}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: a check in less than a minute")
    parser.add_argument("--peers", default=os.environ.get("SEARCH_PEERS"), help="interpreter of the peers' environment")
    parser.add_argument("--before", type=os.path.abspath, help="checkout of a commit before there were ensembles")
    parser.add_argument("--rounds", type=int, help="samples of each contestant; default 3, quick 1")
    parser.add_argument("--whole-rounds", type=int, default=1, help="of whole trainings")
    parser.add_argument("--epochs", type=int, help="of whole trainings; default 60, quick 2")
    parser.add_argument("--only", default=",".join([*CASES, "memory", *WHOLE]), help="tables, separated by commas")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.epochs = options.epochs or (2 if options.quick else EPOCHS)
    started, only = time.monotonic(), options.only.split(",")
    machine(options)
    for name, (title, sizes) in CASES.items():
        if name not in only or (options.quick and name != "study-32"):
            continue
        if options.quick:
            title, sizes = f"small sizes in the place of {title}", TINY
        scaled = sizes if options.quick else dataclasses.replace(sizes, **SAMPLED)
        scaling(title, scaled, MEMBERS[:2] if options.quick else MEMBERS, options)
    if "memory" in only:
        memory(options)
    whole(options, only)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"Took {time.monotonic() - started:.0f} s; load average at the end {load}.")


if __name__ == "__main__":
    main()
