"""Made-up trainings and everything that the report reads of them."""

import shutil
from pathlib import Path

import numpy as np

from transformer_spectrum.analysis.of_training import long_tables, plot_tables
from transformer_spectrum.analysis.of_training.comparison_file import comparison
from transformer_spectrum.analysis.of_training.metrics_file import effects, headline
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.report.run import LONG_TABLES
from transformer_spectrum.runtime.files import write_csv, write_json, write_table, write_text
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

ROOT = Path(__file__).parents[1]
ORIGIN = {
    "source": "synthetic",
    "standin": False,
    "location": "noise, smoothed",
    "sha256": "a" * 64,
    "bytes": 1234,
    "rows": 9,
    "notes": [],
}
DESCRIPTION = {
    **{split: {"windows": 3, "dropped_constant": 1, "sgt": {"converged": True}} for split in ("train", "validation")},
    "test": {"windows": 3, "dropped_constant": 0, "sgt": {"converged": False}},
    "baselines": {"persistence": {"mae": 1.0}, "context_mean": {"mae": 0.75}},
    "reasons": {"baselines.persistence.mape": "not computed: truth takes negative values"},
}
ATTENTION = ("query", "key", "value", "output")


def layout(width, layers=2, token=12):
    """Names, families and shapes of a small transformer's matrices."""
    specs = [("context_embedding", "embedding", (width, token)), ("target_embedding", "embedding", (width, token))]
    for side, blocks in (("encoder", ("self_attention",)), ("decoder", ("self_attention", "cross_attention"))):
        for layer in range(layers):
            for block in blocks:
                specs += [(f"{side}.{layer}.{block}.{part}", f"{side}_{block}", (width, width)) for part in ATTENTION]
            specs.append((f"{side}.{layer}.feed_forward.up", "feed_forward", (2 * width, width)))
            specs.append((f"{side}.{layer}.feed_forward.down", "feed_forward", (width, 2 * width)))
    specs.append(("readout", "readout", (token, width)))
    return specs


def gains(specs, steps):
    """Name of each norm of a small transformer -> its gains at every step, which grow a little."""
    width = specs[-1][2][1]
    attentions = [name.removesuffix(".query") for name, *_ in specs if name.endswith("self_attention.query")]
    layers = [name.removesuffix(".self_attention") for name in attentions]
    names = ["encoder_norm", *(f"{layer}.{norm}" for layer in layers for norm in ("self_norm", "feed_norm"))]
    grown = 1 + 0.01 * np.arange(steps + 1)[:, None] * np.linspace(0, 1, width)
    return {name: grown.astype(np.float32) for name in names} if attentions else {}


def training(optimizer, steps, specs, seed=0):
    """A History whose matrices drift in the optimizer's manner from one common start, and all its weights."""
    start, drift = np.random.default_rng(seed), np.random.default_rng([seed, ord(optimizer[0])])
    singular_values = np.full((steps + 1, len(specs), max(min(shape) for *_, shape in specs)), np.nan, np.float32)
    changes, distances = singular_values.copy(), np.zeros((steps + 1, len(specs)), np.float32)
    weights = {}
    for m, (name, _, shape) in enumerate(specs):
        weights[name] = np.empty((steps + 1, *shape), np.float32)
        weight = start.normal(size=shape) / np.sqrt(shape[1])
        left, right = drift.normal(size=(shape[0], 3)), drift.normal(size=(3, shape[1]))
        for step in range(steps + 1):
            grown = {
                "adam": weight + (1 - np.exp(-step / 15)) * 0.03 * left @ right,
                "es": weight,
                "ga": weight * 0.997**step,
            }[optimizer]
            weights[name][step] = grown
            singular_values[step, m, : min(shape)] = np.linalg.svd(grown, compute_uv=False)
            change = weights[name][step] - weights[name][0]
            changes[step, m, : min(shape)] = np.linalg.svd(change, compute_uv=False)
            distances[step, m] = np.linalg.norm(change) / np.linalg.norm(weights[name][0])
            if optimizer != "adam":
                weight = weight + drift.normal(size=shape) * (0.012 if optimizer == "es" else 0.006)
    index = np.arange(steps + 1)
    scale = {"adam": 8, "es": 40, "ga": 70}[optimizer]
    validation = 0.55 + 0.6 * np.exp(-index / scale) + 0.01 * drift.normal(size=steps + 1)
    loss = validation - 0.02 + 0.02 * drift.normal(size=steps + 1)
    if optimizer == "adam":
        loss[0] = np.nan
    history = History(
        names=np.array([name for name, *_ in specs]),
        families=np.array([family for _, family, _ in specs]),
        shapes=np.array([shape for *_, shape in specs]),
        steps=index,
        rounds=index,
        evaluations=index * (66 if optimizer == "adam" else 32),
        loss=loss,
        validation_loss=validation,
        validation_mae=0.8 * validation,
        residual_mad=0.5 * validation,
        influence_cosine=np.full(steps + 1, 0.75),
        distance=np.sqrt(index),
        distances=distances,
        singular_values=singular_values,
        change_singular_values=changes,
        best_step=int(validation.argmin()),
    )
    return history, Snapshots(tuple(index.tolist()), weights, gains(specs, steps))


def write_run(root, summaries, forecast):
    """Everything that the report reads: the tables made of the trainings as the stages do, the rest made up."""
    shutil.copy(ROOT / "params.yaml", root)
    for name, table in plot_tables.plot_tables(summaries, forecast).items():
        write_csv(root / f"plots/{name}.csv", table.columns, cells(table))
    for name in LONG_TABLES:
        write_table(root / f"metrics/{name}.parquet", getattr(long_tables, name)(summaries))
    write_json(root / "metrics/spectra.json", {"standin_data": 0, **headline(summaries)})
    write_json(root / "metrics/effects.json", {"standin_data": 0, **effects(summaries)})
    write_json(root / "metrics/comparison.json", comparison(summaries, dataset="synthetic", seed=1))
    write_json(root / "metrics/data.json", DESCRIPTION)
    write_json(root / "data/processed/provenance.json", ORIGIN)
    for i, (name, history) in enumerate((name, one.history) for name, one in summaries.items()):
        scores = {"best_validation_loss": float(history.validation_loss.min())}
        scores |= {"stop_cause": "finished", "stop_reason": "all steps done"}
        scores |= {"best_validation_mae": float(history.validation_mae.min()), "selected_by": "mae"}
        scores |= {"optimizer": name, "best_step": history.best_step, "evaluations": int(history.evaluations[-1])}
        for way, mae in (("teacher_forced", 0.2), ("free_running", 0.7)):
            scores[way] = {"mae": mae + i / 10, "rmse": 1.0}
        scores["missing"] = {"free_running.mape": "not computed: truth takes negative values"}
        write_json(root / "metrics" / name / "scores.json", {**scores, "standin_data": False})
        about = {"device": "cpu", "threads": 1, "seed": 1, "versions": {"python": "3.11.7", "torch": "2.13.0"}}
        write_json(root / "models" / name / "run.json", about)
        whole = max(float(history.distance[-1]), 1e-9)
        curves = {
            "seconds": np.linspace(0, 12.5 + i, len(history.steps)),
            "distance": history.distance * 3.25 / whole,
            "validation_loss": history.validation_loss,
            "validation_mae": history.validation_mae,
            "influence_cosine": history.influence_cosine,
        }
        for curve, values in curves.items():
            rows = zip(history.steps.tolist(), np.asarray(values, float).tolist(), strict=True)
            text = f"step\t{curve}\n" + "".join(f"{step}\t{value}\n" for step, value in rows)
            write_text(root / "metrics" / name / "plots/metrics" / f"{curve}.tsv", text)
