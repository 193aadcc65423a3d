"""What the tables of a study say of losses that differ in name alone."""

import pytest

from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.store import Store, write_record
from transformer_spectrum.study.sweep.table import alike_losses


@pytest.fixture
def said(tmp_path):
    """Loss -> cosines of its seeds -> the lines."""
    store, params = Store(tmp_path), load_params(packaged("params.yaml"))

    def of(cosines, datasets=("narrow",), optimizers=("adam",)):
        cells = []
        for loss, of_seeds in cosines.items():
            for dataset in datasets:
                for optimizer in optimizers:
                    for seed, cosine in enumerate(of_seeds):
                        cells.append(Cell("tiny", dataset, loss, optimizer, seed, params))
                        store.training(cells[-1]).mkdir(parents=True, exist_ok=True)
                        write_record(store.training(cells[-1]), {}, {"influence_cosine": cosine})
        return alike_losses(cells, store)

    return of


def test_losses_that_all_pull_as_mse_does_are_named_with_their_least_cosine(said):
    (line,) = said({"mse": [1.0, 1.0], "sgt_q3": [0.97, 0.999], "sgt_q50": [0.9999, 0.9951]})
    assert line.startswith("narrow, Adam: mse (1.0000), sgt_q50 (0.9951) pull on the validation residuals")
    assert "sgt_q3" not in line


def test_each_data_set_and_optimizer_has_its_own_line(said):
    lines = said({"mse": [1.0], "sgt": [0.995]}, ("narrow", "wide"), ("adam", "es"))
    assert [line.split(":")[0] for line in lines] == ["narrow, Adam", "narrow, ES", "wide, Adam", "wide, ES"]


@pytest.mark.parametrize("cosines", [[0.99], [0.5, 0.999], [None, 0.999], [0.999, None], [None]])
def test_a_loss_that_pulls_otherwise_in_one_seed_or_of_which_nothing_is_known_is_not_named(cosines, said):
    assert said({"mse": [1.0] * len(cosines), "sgt": cosines}) == []
