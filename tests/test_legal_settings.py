"""What the schema allows trains, or is refused in one line; `make legal` tries more of it."""

import pytest
from legal_settings import TINY, run, settings
from quick_pictures import draw_quickly

from transformer_spectrum.config.load import PARAMETERS


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 24, 6))
def test_drawn_settings_train_or_are_refused_in_one_line(first, monkeypatch):
    draw_quickly(monkeypatch.setattr)
    failed = {trial: run(trial, 0)[0] for trial in range(first, first + 6)}
    assert not any(failed.values()), failed


def test_a_trial_is_a_function_of_its_number_and_all_of_them_reach_most_parameters():
    trials = [settings(trial, 3) for trial in range(300)]
    assert trials == [settings(trial, 3) for trial in range(300)]
    reached = {name for _, values in trials for name, value in values.items() if TINY.get(name) != value}
    assert len(reached) > 70
    assert reached <= PARAMETERS.keys()
