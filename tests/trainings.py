"""Plausible trainings: low-rank growth for Adam, a random walk for ES, a shrinking one for GA."""

import dataclasses

import numpy as np
import pytest
from made_up import layout, training

from transformer_spectrum.analysis.of_training.summary import summarize
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.training.records.snapshots import Snapshots


@pytest.fixture(scope="session")
def spectra():
    return SpectraParams(
        tracked_every=5,
        tracked_at_most=6,
        hill_fraction=0.25,
        min_tail=8,
        ks_distance="two_sided",
        window_first=0.0,
        window_last=0.5,
        edge_level=0.99,
        shuffles=4,
        overlap_rank=3,
        per_head=False,
        farms_size=8,
        bootstrap=0,
    )


@pytest.fixture(scope="session")
def trainings():
    specs = layout(16)
    return {name: training(name, steps, specs) for name, steps in (("adam", 12), ("es", 17), ("ga", 17))}


@pytest.fixture(scope="session")
def histories(trainings):
    return {name: history for name, (history, _) in trainings.items()}


@pytest.fixture(scope="session")
def kept(trainings):
    """The snapshots that belong to histories: those of the trainings, cut to the histories' matrices."""

    def cut(histories):
        return {
            name: Snapshots(
                trainings[name][1].steps,
                {
                    matrix: trainings[name][1].weights[matrix][:, :rows, :columns]
                    for matrix, (rows, columns) in zip(history.names, history.shapes, strict=True)
                },
                trainings[name][1].gains,
            )
            for name, history in histories.items()
        }

    return cut


@pytest.fixture(scope="session")
def summarized(kept, spectra):
    """Histories, and changes of the settings, -> summaries, which tests share: `anew` where that is their subject."""
    shared = {}

    def of(histories, *, anew=False, **changes):
        names = tuple((name, id(history)) for name, history in histories.items()), tuple(sorted(changes.items()))
        if anew or names not in shared:
            settings = spectra.model_copy(update=changes)
            # The histories stay, lest another takes the place, and so the id, of one that is gone.
            shared[names] = summarize(histories, kept(histories), settings, heads=4, seed=0), histories
        return dict(shared[names][0])

    return of


@pytest.fixture(scope="session")
def with_rank_one_embedding(histories):
    """The same trainings, their embeddings one column wide, as with model.patch_length = 1."""
    changed = {}
    for optimizer, history in histories.items():
        embedding = history.families == "embedding"
        spectra = {name: getattr(history, name).copy() for name in ("singular_values", "change_singular_values")}
        for values in spectra.values():
            values[:, embedding, 1:] = np.nan
        shapes = history.shapes.copy()
        shapes[embedding] = (16, 1)
        changed[optimizer] = dataclasses.replace(history, **spectra, shapes=shapes)
    return changed


@pytest.fixture(scope="session")
def few_histories(histories):
    """The same with three families, which are enough for a layout and faster to draw."""
    kept = np.isin(histories["adam"].families, ("encoder_self_attention", "feed_forward", "readout"))
    return {
        name: dataclasses.replace(
            history,
            names=history.names[kept],
            families=history.families[kept],
            shapes=history.shapes[kept],
            singular_values=history.singular_values[:, kept],
            change_singular_values=history.change_singular_values[:, kept],
            distances=history.distances[:, kept],
        )
        for name, history in histories.items()
    }


@pytest.fixture(scope="session")
def forecast():
    """Waves of two features, as models/<optimizer>/forecasts.npz hold them."""
    generator = np.random.default_rng(7)
    time = np.arange(96)
    waves = 50 + 20 * np.sin(time[:, None] / 8 + generator.uniform(0, 6, (9, 1, 2)))
    waves = waves + generator.normal(size=waves.shape)
    truth = waves[:, 72:]
    return {
        "context": waves[:, :72],
        "truth": truth,
        "forecast": {name: truth + generator.normal(size=truth.shape) * 4 for name in ("adam", "es", "ga")},
        "entities": np.array([f"series {i}" for i in range(9)]),
    }
