"""The optimizers are listed once, and what has an entry for each has one for all."""

import ast
import re
from pathlib import Path

import pytest

from transformer_spectrum.cli import options, train
from transformer_spectrum.config.load import Params
from transformer_spectrum.config.resolve import WITH_LEARNING_RATE
from transformer_spectrum.config.schema import OPTIMIZERS, ESParams
from transformer_spectrum.optimizers.evolution.strategies import LEARNING_RATES, STRATEGIES, learning_rate
from transformer_spectrum.optimizers.gradient.algorithms import OWN
from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.study import tune
from transformer_spectrum.study.sweep import figures
from transformer_spectrum.vocabulary import command_of, display_name

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "table", [options.OF_OPTIMIZER, train.METHODS, deciding_code.OPTIMIZERS, figures.MARKERS, tune.RANGES], ids=range(5)
)
def test_a_table_by_optimizer_has_all_of_them(table):
    assert set(table) == set(OPTIMIZERS)


def test_each_has_a_section_a_name_and_a_command():
    assert set(OPTIMIZERS) <= Params.model_fields.keys()
    assert all(display_name(name) != name for name in OPTIMIZERS)
    assert len({command_of(name) for name in OPTIMIZERS}) == len(OPTIMIZERS)


def test_the_evolution_strategies_with_a_learning_rate_are_strategies():
    assert set(tune.ES_LEARNING_RATES) == set(WITH_LEARNING_RATE) < set(STRATEGIES)


def test_the_page_on_tuning_says_what_null_means_for_every_gradient_method():
    text = (ROOT / "docs/howto/tune.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")][1:]  # the first names the columns
    cells = {row.split("|")[1].strip(" `"): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    assert set(cells) == set(OWN)
    for name, (rate, decay, betas, momentum) in cells.items():
        own = OWN[name]
        assert (float(rate), float(decay.split(",")[0])) == (own.learning_rate, own.weight_decay)
        assert betas.split(" (")[0] == (f"{own.beta1:g}, {own.beta2:g}" if own.beta1 else "")
        assert momentum.split(",")[0] == (f"{own.momentum:g}" if own.momentum else "")


def test_what_is_said_of_es_learning_rate_says_what_null_means_for_every_strategy_that_has_one():
    description = ESParams.model_fields["learning_rate"].description
    algorithms = re.findall(r"(\w+): of ", description)
    rates = re.search(r"null = the method's own, ([\d.]+) and ([\d.]+)$", description).groups()
    named = {algorithm: float(rate) for algorithm, rate in zip(algorithms, rates, strict=True)}
    assert named == LEARNING_RATES == {algorithm: learning_rate(algorithm, None) for algorithm in WITH_LEARNING_RATE}
    assert f"null = its own, {' and '.join(rates)}\n" in (ROOT / "params.yaml").read_text()


def test_no_other_module_lists_them():
    listing = []
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                values = [element.value for element in node.elts if isinstance(element, ast.Constant)]
                if set(values) >= set(OPTIMIZERS):
                    listing.append(path.relative_to(ROOT).as_posix())
    assert listing == ["src/transformer_spectrum/config/schema.py"]
