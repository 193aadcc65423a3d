"""Configs and the JSON schemas: checked, suggested, current."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from transformer_spectrum.config.aliases import KEYS, read_config
from transformer_spectrum.config.help import entry
from transformer_spectrum.config.json_schema import schema_text
from transformer_spectrum.config.load import PARAMETERS
from transformer_spectrum.config.resolve import Asked, resolve
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    ROOT / "config/examples" / f"{name}.yaml" for name in ("covid", "lstm_es", "synthetic")
]  # a user may add his own


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {num_head: 3}", "model.num_head: unknown key; did you mean model.num_heads?"),
        ("modle: {num_heads: 3}", "modle: unknown key; did you mean model?"),
        ("epochs: 3", "epochs: unknown key; did you mean training.num_epochs?"),
        ("training: {lr: 3}", "training.lr: unknown key; did you mean training.learning_rate?"),
        ("parameters: {adam: {schedul: cosine}}", "did you mean parameters.adam.schedule?"),
        ("model: {num_heads: 0}", "model.num_heads = 0: must be"),
        ("loss: {type: mea}", "loss.type = 'mea': must be 'mse', 'mae', 'cauchy' or 'sgt'"),
        ("data: {batch_size: null}", "data.batch_size = None"),
        ("data: {sequence_length: 3.5}", "data.sequence_length = 3.5: must be a whole number"),
        ("name: 3", "name = 3: must be text"),
        ("model: 3", "model = 3: must be a mapping"),
        ("- 1", "must be a mapping of keys"),
        ("a: [", "not valid YAML"),
        ("training: {num_epochs: 2}\nparameters: {adam: {epochs: 3}}", "both set adam.epochs"),
    ],
)
def test_a_bad_config_is_one_line_with_the_file_and_what_may_have_been_meant(text, words, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_and_toml_say_the_same(tmp_path):
    (tmp_path / "c.yaml").write_text("name: a\nloss: {type: sgt, sgt: {q: .inf, sigma: 1e-1}}\n")
    (tmp_path / "c.toml").write_text('name = "a"\n[loss]\ntype = "sgt"\nsgt = {q = inf, sigma = 0.1}\n')
    one, other = (read_config(tmp_path / name) for name in ("c.yaml", "c.toml"))
    assert dict(one.values) == dict(other.values)
    assert one.name == other.name == "a"
    with pytest.raises(InputError, match=r"must end in \.yaml, \.yml or \.toml"):
        read_config(tmp_path / "c.json")
    (tmp_path / "d.toml").write_text("a = [")
    with pytest.raises(InputError, match="not valid TOML"):
        read_config(tmp_path / "d.toml")


def test_keys_set_parameters_each_another():
    assert set(KEYS.values()) <= set(PARAMETERS)
    assert len(set(KEYS.values())) == len(KEYS)


@pytest.mark.parametrize("which", ["params", "config"])
def test_the_committed_json_schemas_are_current(which):
    assert (ROOT / f"config/schema/{which}.schema.json").read_text() == schema_text(which), "run make schema"


@pytest.mark.parametrize("which", ["params", "config"])
def test_the_json_schemas_are_schemas_and_hold_only_their_own_words(which):
    schema = json.loads(schema_text(which))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert not {'"ge":', '"gt":', '"le":', '"lt":'} & set(schema_text(which).split())


def test_check_jsonschema_accepts_what_is_committed_and_nothing_else(tmp_path):
    def check(schema, *files):
        command = [
            str(Path(sys.executable).with_name("check-jsonschema")),
            "--schemafile",
            ROOT / "config/schema" / schema,
        ]
        return subprocess.run([*command, *files], capture_output=True, text=True, check=False, timeout=60).returncode

    assert check("params.schema.json", ROOT / "params.yaml") == 0
    assert check("config.schema.json", *EXAMPLES) == 0
    (tmp_path / "bad.yaml").write_text("model: {num_heads: 0}\n")
    assert check("config.schema.json", tmp_path / "bad.yaml") == 1
    text = (ROOT / "params.yaml").read_text().replace("epochs: 60", "epochs: 0", 1)
    (tmp_path / "params.yaml").write_text(text)
    assert check("params.schema.json", tmp_path / "params.yaml") == 1


def test_each_of_the_three_examples_resolves_in_silence_but_for_what_follows(monkeypatch):
    monkeypatch.chdir(ROOT)
    for path in EXAMPLES:
        assert path.read_text().startswith("# yaml-language-server: $schema=../schema/config.schema.json\n")
        settings = resolve(Asked({}, config=str(path)), lambda line: None)
        assert settings.config.name
        for name, (value, key) in settings.config.values.items():
            assert settings.origins[name] == f"config {path}: {key}", (name, value)


def test_the_examples_show_every_key_of_the_shape():
    shown = {key for path in EXAMPLES for _, key in read_config(path).values.values()}
    shape = "seed device model.type model.embed_dim model.num_heads model.num_layers data.sequence_length "
    shape += "data.output_length data.batch_size loss.type loss.sgt.sigma loss.sgt.lam loss.sgt.q training.num_epochs "
    shape += "training.learning_rate"
    assert set(shape.split()) <= shown


def test_help_knows_what_the_schema_of_every_parameter_says():
    for name, field in PARAMETERS.items():
        assert entry(name).description == field.description
    assert entry("es.learning_rate").bounds == "> 0, <= 10"
    assert entry("es.learning_rate").optional
    assert entry("loss.type").choices == ("mse", "mae", "cauchy", "sgt")
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["data"]["dataset"] in entry("data.dataset").choices
