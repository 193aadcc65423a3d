"""Whether the folder of a training's metrics and the one of its weights are of the same training."""

from __future__ import annotations

from pathlib import Path

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, sha256

METRICS_FILE, SCORES_FILE = "metrics.json", "scores.json"


def belong_together(models: Path, metrics: Path) -> bool:
    """Whether the two folders that a training leaves behind are whole, and of the same training.

    Args:
        models: with history.npz.
        metrics: of DVCLive, with metrics.json and scores.json.

    >>> import tempfile
    >>> from transformer_spectrum.runtime.files import write_json
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     models = metrics = Path(scratch)
    ...     (models / "history.npz").write_bytes(b"of one training")
    ...     write_json(metrics / "metrics.json", {"test_mae": 0.5})
    ...     write_json(metrics / "scores.json", {"history": "of another"})
    ...     belong_together(models, metrics)
    15
    False
    """
    try:
        scores, headline = read_json(metrics / SCORES_FILE), read_json(metrics / METRICS_FILE)
        return "test_mae" in headline and scores.get("history") in (None, sha256(models / "history.npz"))
    except (InputError, OSError, AttributeError, TypeError):
        return False
