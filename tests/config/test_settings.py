"""Where a parameter's value comes from: flag over config over params.yaml over default, and what has to follow."""

from pathlib import Path

import pytest
import yaml

from transformer_spectrum.cli.main import main
from transformer_spectrum.config.aliases import KEYS
from transformer_spectrum.config.help import entry
from transformer_spectrum.config.load import load_params, parse_params
from transformer_spectrum.config.resolve import Asked, resolve, without_effect
from transformer_spectrum.config.tree import flatten, get, nest
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[2]


def quiet(line: str) -> None:
    pass


def value(settings, name):
    return get(settings.params, name)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """A folder without params.yaml."""
    monkeypatch.chdir(tmp_path)


def test_without_anything_the_values_are_those_of_the_repositorys_params_yaml():
    settings = resolve(Asked({}), quiet)
    assert settings.params == load_params(ROOT / "params.yaml")
    assert set(settings.origins.values()) == {"default"}


def test_each_level_wins_over_the_ones_below_and_says_so():
    levels = {}
    for name, given in (("params.yaml", 11), ("config", 12), ("set", 13), ("flag", 14)):
        if name == "params.yaml":
            tree = yaml.safe_load((ROOT / "params.yaml").read_text())
            tree["adam"]["epochs"] = given
            Path("params.yaml").write_text(yaml.safe_dump(tree))
        elif name == "config":
            Path("c.toml").write_text(f"[training]\nnum_epochs = {given}\n")
            levels["config"] = "c.toml"
        elif name == "set":
            levels["assignments"] = (f"adam.epochs={given}",)
        else:
            levels["flags"] = {"adam.epochs": (given, "--epochs")}
        settings = resolve(Asked(**{"flags": {}, **levels}), quiet)
        assert settings.params.adam.epochs == given
        assert name in settings.origins["adam.epochs"]
        assert settings.origins["adam.patience"] == "params.yaml"


def test_a_params_yaml_that_lacks_a_parameter_gets_the_default_and_that_is_said():
    Path("params.yaml").write_text("adam: {epochs: 3}\n")
    said = []
    settings = resolve(Asked({}), said.append)
    assert settings.params.adam.epochs == 3
    assert settings.origins["loss.q"] == "default"
    assert said[0].startswith("params.yaml: lacks 1")  # a hundred and more
    assert len(said[0]) < 120
    tree = settings.params.model_dump(mode="json")
    del tree["loss"]["q"], tree["seed"]
    Path("params.yaml").write_text(yaml.safe_dump(tree))
    said.clear()
    resolve(Asked({}), said.append)
    assert said == ["params.yaml: lacks seed, loss.q; taking the default"]


def test_printing_the_config_says_what_has_no_effect_as_a_training_does(capsys):
    main(["train", "--set", "es.popsize=8", "--sgt-q", "3", "--loss", "mse", "--print-config"])
    said = capsys.readouterr()
    assert said.err == "without effect on this training: loss.q, es.popsize\n"
    assert yaml.safe_load(said.out)["es"]["popsize"] == 8


def test_what_is_printed_is_a_params_yaml_with_the_same_values():
    settings = resolve(Asked({"loss.q": (float("inf"), "--sgt-q"), "data.stride": (None, "x")}), quiet)
    assert parse_params(yaml.safe_load(settings.text())) == settings.params
    assert "q: .inf" in settings.text()
    assert "# flag --sgt-q" in settings.text()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            Asked({"adam.epochs": (0, "--epochs")}),
            "adam.epochs = 0: must be greater than or equal to 1 (adam.epochs by fl",
        ),
        (Asked({}, ("adam.epoch=3",)), "--set adam.epoch=3: adam.epoch: unknown parameter; did you mean adam.epochs?"),
        (Asked({}, ("adam.epochs",)), "--set adam.epochs: must be key=value"),
        (Asked({}, ("adam.epochs=[",)), "--set adam.epochs=[: not a YAML value"),
        (Asked({}, params="no.yaml"), "no.yaml: no such file"),
        (Asked({}, config="no.yaml"), "no.yaml: no such file"),
        (Asked({"es.learning_rate": (0.1, "x")}, ("es.algorithm=cma",)), "es.algorithm = cma: needs openai or snes"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_where_it_came_from(asked, words):
    with pytest.raises(InputError) as caught:
        resolve(asked, quiet)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("length", "horizon", "patch"), [(300, 60, 12), (50, 10, 10), (24, 8, 8), (61, 30, 1)])
def test_the_patch_length_follows_a_window_that_was_asked_for(length, horizon, patch):
    said = []
    flags = {"data.sequence_length": (length, "--seq-len"), "data.output_length": (horizon, "--output-len")}
    settings = resolve(Asked(flags), said.append)
    assert settings.params.model.patch_length == patch
    assert (patch == 12) == (not said)


def test_a_patch_length_that_was_asked_for_follows_nothing():
    flags = {"data.sequence_length": (50, "--seq-len"), "data.output_length": (10, "--output-len")}
    with pytest.raises(InputError, match=r"model\.patch_length = 12 with a context of 40 steps"):
        resolve(Asked(flags, ("model.patch_length=12",)), quiet)


def test_a_window_that_was_asked_for_is_not_overridden_by_the_data_set():
    settings = resolve(Asked({"data.sequence_length": (96, "--seq-len")}, dataset="rvr_beds"), quiet)
    assert (settings.params.data.window_length, settings.params.data.horizon) == (96, 36)
    assert resolve(Asked({}, dataset="rvr_beds"), quiet).params.data.window_length == 180


def test_synthetic_series_grow_with_the_window_that_was_asked_for():
    assert resolve(Asked({"data.sequence_length": (480, "x")}), quiet).params.data.synthetic.length == 480


def test_a_learning_rate_chooses_the_evolution_strategy_that_has_one():
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree["es"]["algorithm"] = "cma"
    Path("params.yaml").write_text(yaml.safe_dump(tree))
    said = []
    assert resolve(Asked({"es.learning_rate": (0.1, "--es-lr")}), said.append).params.es.algorithm == "openai"
    assert "es.algorithm = openai instead of cma" in said[0]
    snes = resolve(Asked({"es.learning_rate": (0.1, "--es-lr")}, ("es.algorithm=snes",)), quiet)
    assert snes.params.es.algorithm == "snes"


def test_options_without_effect_are_told():
    flags = dict.fromkeys(("loss.q", "loss.gamma", "adam.learning_rate"), (1.5, "x"))
    settings = resolve(Asked(flags, ("loss.type=mse",)), quiet)
    assert set(without_effect(settings, "es")) == {"loss.q", "loss.gamma", "adam.learning_rate"}
    settings = resolve(Asked(flags, ("loss.type=cauchy",)), quiet)
    assert set(without_effect(settings, "adam")) == {"loss.q"}
    lstm = resolve(Asked({"model.heads": (2, "--num-heads")}, ("model.type=lstm",)), quiet)
    assert without_effect(lstm, "adam") == ["model.heads"]


def test_a_seed_of_batches_is_for_gradient_methods_and_a_factor_for_every_loss():
    settings = resolve(Asked({}, ("training.batch_seed=3", "loss.factor=10", "loss.type=mse")), quiet)
    assert settings.params.training.batch_seed == 3
    assert settings.params.loss.factor == 10.0
    assert without_effect(settings, "adam") == []
    assert without_effect(settings, "es") == without_effect(settings, "ga") == ["training.batch_seed"]


@pytest.mark.parametrize(
    ("loss", "idle"),
    [
        ("mse", {"scale", "gamma", "sigma", "q"}),
        ("mae", {"scale", "gamma", "sigma", "q"}),
        ("cauchy", {"gamma", "sigma", "q"}),
        ("sgt", {"gamma", "sigma"}),
    ],
)
def test_a_scale_that_follows_the_residuals_leaves_those_that_are_set_without_effect(loss, idle):
    asked = (f"loss.type={loss}", "loss.scale=residual", "loss.gamma=2", "loss.sigma=2", "loss.q=5")
    assert set(without_effect(resolve(Asked({}, asked), quiet), "adam")) == {f"loss.{key}" for key in idle}
    fixed = set(without_effect(resolve(Asked({}, (*asked[:1], "loss.scale=fixed", *asked[2:])), quiet), "adam"))
    reads = {"cauchy": {"gamma"}, "sgt": {"sigma"}}.get(loss, set())
    assert fixed == {f"loss.{key}" for key in idle - reads}


def another(field_value, parameter):
    """A legal value that differs, for any parameter that configs reach."""
    if field_value is None:
        return 7 if entry(parameter).kind == "integer" else 0.5
    if isinstance(field_value, bool):
        return not field_value
    if isinstance(field_value, int):
        return field_value * 2
    if isinstance(field_value, float):
        return field_value / 2 if field_value else 0.25
    return {
        "auto": "cpu",
        "transformer": "lstm",
        "sgt": "mae",
    }[field_value]


@pytest.mark.parametrize("key", list(KEYS))
def test_every_key_of_a_config_arrives_at_its_parameter_and_nowhere_else(key):
    plain = resolve(Asked({}), quiet)
    new = another(value(plain, KEYS[key]), KEYS[key])
    Path("c.yaml").write_text(yaml.safe_dump(nest({key: new})))
    settings = resolve(Asked({}, config="c.yaml"), quiet)
    before, after = (flatten(resolved.params.model_dump()) for resolved in (plain, settings))
    assert after[KEYS[key]] == new
    assert settings.origins[KEYS[key]] == f"config c.yaml: {key}"
    follows = {"data.sequence_length": "data.synthetic.length"}.get(key)
    assert {name for name in before if before[name] != after[name]} == {KEYS[key], *([follows] if follows else [])}


def test_the_print_of_a_command_shows_name_data_and_origins(capsys):
    Path("c.yaml").write_text("name: first\ndata: {dataset: mine.csv}\nmodel: {num_heads: 2}\n")
    main(["train-ga", "-c", "c.yaml", "--popsize", "8", "--print-config"])
    printed = capsys.readouterr().out
    assert "# name: first\n# data: mine.csv\n" in printed
    assert "heads: 2                            # config c.yaml: model.num_heads\n" in printed
    assert "popsize: 8                          # flag --popsize\n" in printed
    assert yaml.safe_load(printed)["data"]["dataset"] == "file"
    main(["train", "-c", "c.yaml", "-n", "second", "-d", "other.npy", "--print-config"])
    assert "# name: second\n# data: other.npy\n" in capsys.readouterr().out


def test_an_error_tells_the_origins_of_the_parameters_that_it_is_about_and_of_no_other():
    asked = Asked({"seed": (3, "--seed"), "training.batch_seed": (-1, "--batch-seed")})
    with pytest.raises(InputError) as refused:
        resolve(asked, quiet)
    assert str(refused.value).endswith("(training.batch_seed by flag --batch-seed)")
    assert refused.value.names == ("training.batch_seed",)
    with pytest.raises(InputError) as refused:
        resolve(Asked({"es.rank": (4, "--rank"), "es.algorithm": ("cma", "--es-algorithm")}), quiet)
    assert refused.value.names == ("es.rank", "es.algorithm")
    assert "es.rank by flag --rank; es.algorithm by flag --es-algorithm" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("adam={lr: 3}", "adam: must name one of its parameters, such as adam.algorithm"),
        ("data.synthetic=3", "data.synthetic: must name one of its parameters, such as data.synthetic."),
        ("data.covid.countries=3", "data.covid.countries = 3: must be a list"),
        ("data.covid.countries=[3]", "data.covid.countries.0 = 3: must be text"),
    ],
)
def test_what_is_no_value_is_told_in_words_of_users(text, words):
    with pytest.raises(InputError) as refused:
        resolve(Asked({}, assignments=(text,)), quiet)
    assert words in str(refused.value)
