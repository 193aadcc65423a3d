"""Speed and memory of the search engines against the plain way and other packages, as Markdown.

    python benchmarks/search.py [--quick] [--peers PYTHON] [--rounds N] [--only evaluation,ask-tell,generation,epoch]

PYTHON is the interpreter of an environment with evotorch, evosax, jax, cmaes and the same torch (or the variable
SEARCH_PEERS); rows of packages that are not there say so. Every contestant is a process of its own (contest.py), on one
core or on all. They take turns, a sample each a round, and a ratio is the median over the rounds of ratios within a
round, so that a slow spell of the machine hits both sides; other figures are medians. What all contestants of
`evaluation` compute is checked on one vector.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from contest import Sizes

HERE = Path(__file__).parent
DEFAULTS, LARGE = Sizes(), Sizes(layers=4, feedforward=256)  # 170,124 and 469,644 weights
ALL = len(os.sched_getaffinity(0))
PEERS = ("evotorch", "cmaes", "evosax")
METHODS = {"openai": "PGPE or Open_ES", "snes": "SNES", "sep_cma": "separable CMA-ES", "ga": "GA"}
"""Ours, and what the nearest of evotorch's and evosax's is called."""


@dataclass
class Contestant:
    """A process that runs a sample when told.

    Args:
        label: in the tables.
        name: of the contestant in its script.
        cores: it may use.
        sizes: of network and task.
        interpreter: None where the user has named none for the peers.
        settings: further ones.
        script: that holds the contestant; None = one of this benchmark's.
    """

    label: str
    name: str
    cores: int
    sizes: Sizes
    interpreter: str | None = sys.executable
    settings: dict[str, Any] = field(default_factory=dict)
    script: str | None = None
    samples: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        if self.interpreter is None:
            self.facts = {"skipped": "no --peers PYTHON was given"}
            return
        script = self.script or ("search_peers.py" if self.name.startswith(PEERS) else "search_ours.py")
        text = {"sizes": dataclasses.asdict(self.sizes), "cores": self.cores, **self.settings}
        cores = sorted(os.sched_getaffinity(0))[: self.cores]
        self.process = subprocess.Popen(
            [self.interpreter, str(HERE / script), self.name, json.dumps(text)],
            text=True,
            env={key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # before any library counts them
        )
        self.facts = self._read()

    def _read(self) -> dict[str, Any]:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {"skipped": f"its process ended with exit code {self.process.wait()}"}

    def sample(self) -> None:
        if "skipped" in self.facts:
            return
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._read()
        if "skipped" in answer:
            self.facts = answer
        else:
            self.samples.append(answer)

    def end(self) -> None:
        if self.interpreter is not None:
            self.process.stdin.close()
            self.process.wait()

    def per_item(self) -> list[float]:
        """Seconds an item, of each round."""
        return [sample["seconds"] / sample["items"] for sample in self.samples]

    def median(self) -> float:
        return median(self.per_item())

    def mib(self) -> float:
        return max(sample["mib"] for sample in self.samples)


def contest(contestants: list[Contestant], rounds: int) -> None:
    """Runs them in turns; says on standard error how far it is."""
    for contestant in contestants:
        contestant.start()
        print(
            f"  {contestant.label}, {contestant.cores} core(s): {contestant.facts.get('skipped', 'ready')}",
            file=sys.stderr,
        )
    for _ in range(rounds):
        for contestant in contestants:
            contestant.sample()
    for contestant in contestants:
        contestant.end()


def ratio(contestant: Contestant, base: Contestant) -> float:
    """How many times faster than the base."""
    return median(b / a for a, b in zip(contestant.per_item(), base.per_item(), strict=True))


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def shown(value: float) -> str:
    """Three significant digits, large values in full."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def reason(contestant: Contestant) -> str:
    return f"not measured: {contestant.facts['skipped']}"


# -- tables ----------------------------------------------------------------------------------------------------
def machine(options: argparse.Namespace) -> None:
    contestant = Contestant("machine", "machine", 1, DEFAULTS)
    contest([contestant], 0)
    facts = contestant.facts
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(
        f"{facts['date']}, {facts['processor']}, {ALL} cores, {facts['memory_gib']:.0f} GiB, Python "
        f"{sys.version.split()[0]}, torch {facts['torch']}, load average at the start {load}; "
        f"{options.rounds} rounds{', quick sizes' if options.quick else ''}.\n"
    )


def evaluation(options: argparse.Namespace, patch: int) -> None:
    popsize = 32 if options.quick else 256
    sizes = dataclasses.replace(DEFAULTS, patch=patch, popsize=popsize)
    count = min(popsize, 32 if patch > 1 else 8)
    plain = {"count": count}
    rows = [
        Contestant("plain, torch's default threads", "plain_evaluate", ALL, sizes, settings=plain),
        Contestant("plain", "plain_evaluate", 1, sizes, settings=plain),
        Contestant("ours", "evaluate", 1, sizes),
        Contestant("ours", "evaluate", ALL, sizes),
        Contestant("ours, bfloat16", "evaluate", ALL, sizes, settings={"precision": "bfloat16"}),
        Contestant("ours, LSTM", "evaluate", ALL, sizes, settings={"kind": "lstm"}),
    ]
    for name in ("evotorch_evaluate", "evosax_evaluate"):
        label = name.replace("_evaluate", "").replace("evosax", "evosax (JAX)")
        rows += [
            Contestant(label, name, cores, sizes, options.peers) for cores in ((ALL,) if options.quick else (1, ALL))
        ]
    peaks = [Contestant("peak", "peak", cores, sizes) for cores in (1, ALL)]
    contest([*peaks, *rows], options.rounds)
    _agree(rows, sizes)
    speed = {contestant.cores: 1 / contestant.median() for contestant in peaks}  # floating-point operations a second
    flops = rows[2].facts["flops"]
    print(f"### Evaluation, patch_length {patch}\n")
    print(
        f"{sizes.weights:,} weights, {sizes.windows} windows of {sizes.context // patch} + {sizes.horizon // patch} "
        f"tokens, popsize {popsize}, {flops / 1e6:,.0f} million floating-point operations a member; peak of products "
        f"of two {512} x {512} matrices: {speed[1] / 1e9:.0f} GFLOP/s on one core, {speed[ALL] / 1e9:.0f} on all.\n"
    )
    body = []
    for contestant in rows:
        if not contestant.samples:
            body.append([contestant.label, str(contestant.cores), reason(contestant), "", "", ""])
            continue
        same = "kind" not in contestant.settings  # the LSTM's figures stand beside no other's
        share = f"{flops / contestant.median() / speed[contestant.cores]:.0%}" if same else ""
        against = [shown(ratio(contestant, base)) if same else "" for base in rows[:2]]
        body.append([contestant.label, str(contestant.cores), shown(1 / contestant.median()), *against, share])
    print(table(["", "cores", "members/s", "x plain, default threads", "x plain, one core", "of peak"], body))
    parts = ", ".join(f"{share:.0%} {operators}" for operators, share in rows[2].facts["shares"].items())
    print(f"Of our time on one core, by torch.profiler: {parts}.\n")


def _agree(rows: list[Contestant], sizes: Sizes) -> None:
    losses = [contestant.facts["loss"] for contestant in rows if "loss" in contestant.facts]
    if max(losses) - min(losses) > 1e-4 * abs(losses[0]):
        raise SystemExit(f"the contestants do not compute the same loss: {losses}")
    counts = {
        contestant.facts["weights"]
        for contestant in rows
        if "weights" in contestant.facts and "kind" not in contestant.settings
    }
    if counts != {sizes.weights}:
        raise SystemExit(f"the contestants do not have the same weights: {counts} instead of {sizes.weights}")


def ask_tell(options: argparse.Namespace) -> None:
    sizes = _large(options)
    rows = [Contestant(f"ours, {m}", "ask_tell", ALL, sizes, settings={"method": m}) for m in _methods(options)]
    rows.append(Contestant("pycma, diagonal", "ask_tell", ALL, sizes, settings={"method": "cma"}))
    rows.append(Contestant("cmaes, SepCMA", "cmaes_ask_tell", ALL, sizes, options.peers))
    rows += _peers(options, sizes, "ask_tell")
    contest(rows, options.rounds)
    print(f"### Ask and tell alone\n\n{sizes.weights:,} weights, popsize {sizes.popsize}, all {ALL} cores; our lazy")
    print("candidates are made once, as for an evaluation.\n")
    _print_costs(rows)


def generation(options: argparse.Namespace, patch: int) -> None:
    """At patch_length 1, where a generation of the peers takes minutes, ours alone."""
    sizes = dataclasses.replace(_large(options), patch=patch)
    rows = [Contestant(f"ours, {m}", "generation", ALL, sizes, settings={"method": m}) for m in _methods(options)]
    rows += _peers(options, sizes, "generation") if patch > 1 else []
    contest(rows, options.rounds)
    print(
        f"### A generation, patch_length {sizes.patch}\n\n{sizes.weights:,} weights, popsize {sizes.popsize}, all {ALL}"
    )
    print("cores; evaluation, ask and tell, and of ours the mean's own evaluation.\n")
    _print_costs(rows)


def _print_costs(rows: list[Contestant]) -> None:
    body = [
        [contestant.label, shown(contestant.median()), shown(contestant.mib())]
        if contestant.samples
        else [contestant.label, reason(contestant), ""]
        for contestant in rows
    ]
    print(table(["", "s", "peak MiB above start"], body))


def _large(options: argparse.Namespace) -> Sizes:
    return dataclasses.replace(DEFAULTS, popsize=32) if options.quick else LARGE


def _methods(options: argparse.Namespace) -> list[str]:
    return ["openai", "ga"] if options.quick else list(METHODS)


def _peers(options: argparse.Namespace, sizes: Sizes, task: str) -> list[Contestant]:
    return [
        Contestant(f"{package}, {METHODS[m]}", f"{package}_{task}", ALL, sizes, options.peers, {"method": m})
        for package in ("evotorch", "evosax")
        for m in _methods(options)
        if (package, m) != ("evosax", "ga")  # its genetic algorithm has no crossover of real numbers
    ]


def epoch(options: argparse.Namespace, patch: int) -> None:
    sizes = dataclasses.replace(DEFAULTS, patch=patch, training_windows=96 if options.quick else 700)
    rows = [
        Contestant(label, name, cores, sizes, settings={"dropout": dropout})
        for label, name in (("plain", "plain_epoch"), ("ours", "epoch"))
        for dropout in ((0.1,) if options.quick else (0.1, 0.0))
        for cores in (1, ALL)
    ]
    contest(rows, options.rounds)
    print(
        f"### An epoch of Adam, patch_length {patch}\n\n{sizes.training_windows} windows in batches of {sizes.windows};"
    )
    print("plain: nn.Transformer, DataLoader, second pass for metrics, torch's default threads.\n")
    body = [
        [contestant.label, shown(contestant.settings["dropout"]), str(contestant.cores), shown(contestant.median())]
        + [shown(1 / ratio(contestant, base)) for base in rows[:2]]
        for contestant in rows
    ]
    print(table(["", "dropout", "cores", "s", "of plain with dropout, one core", "of plain with dropout, all"], body))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: a check in about a minute")
    parser.add_argument("--peers", default=os.environ.get("SEARCH_PEERS"), help="interpreter of the peers' environment")
    parser.add_argument("--rounds", type=int, help="samples of each contestant; default 5, quick 1")
    parser.add_argument("--only", default="evaluation,ask-tell,generation,epoch", help="tables, separated by commas")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    started, only = time.monotonic(), options.only.split(",")
    machine(options)
    patches = (12,) if options.quick else (12, 1)
    if "evaluation" in only:
        for patch in patches:
            evaluation(options, patch)
    if "ask-tell" in only:
        ask_tell(options)
    if "generation" in only:
        for patch in patches:
            generation(options, patch)
    if "epoch" in only:
        for patch in patches:
            epoch(options, patch)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"Took {time.monotonic() - started:.0f} s; load average at the end {load}.")


if __name__ == "__main__":
    main()
