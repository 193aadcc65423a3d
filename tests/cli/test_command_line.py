"""What every command has in common: help, completion, one-line errors, exit codes."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transformer_spectrum import __version__
from transformer_spectrum.cli import parameters
from transformer_spectrum.cli.main import COMMANDS, main, parser
from transformer_spectrum.cli.options import OF_OPTIMIZER, TRAINING
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
SLOW = {"torch", "pandas", "matplotlib", "scipy", "pydantic", "dvclive", "optuna", "numpy"}


def started(*arguments: str) -> subprocess.CompletedProcess:
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-X", "importtime", "-m", "transformer_spectrum.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_nothing_that_is_slow(command):
    """The time itself is no matter of a test: 0.1 s on an idle core."""
    ended = started(*([command] if command else []), "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith("usage: transformer-spectrum")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & SLOW


def options() -> list[tuple[str, argparse.Action]]:
    (commands,) = (one for one in parser(*COMMANDS)._actions if isinstance(one, argparse._SubParsersAction))
    return [(name, action) for name, one in commands.choices.items() for action in one._actions]


def test_every_option_of_every_command_is_documented():
    undocumented = [(name, action.dest) for name, action in options() if not (action.help or "").strip()]
    assert not undocumented
    assert len(options()) > 150


def test_the_options_of_the_trainings_are_those_that_were_promised():
    given = {name: set() for name in COMMANDS}
    for name, action in options():
        given[name] |= set(action.option_strings)
    common = "-d --dataset -n --name -m --model -l --loss --sgt-sigma --sgt-lambda --sgt-p --sgt-q --cauchy-gamma "
    common += "--embed-dim --num-heads --num-layers --seq-len --output-len --batch-size --test-split --seed --device "
    common += "-c --config --set --print-config"
    assert set(common.split()) | {"--epochs", "--lr", "--patience"} <= given["train"]
    assert set(common.split()) | {"--generations", "--popsize", "--es-sigma", "--es-lr"} <= given["train-es"]
    assert (
        set(common.split()) | {"--generations", "--popsize", "--mutation-stdev", "--crossover-eta"} <= given["train-ga"]
    )
    synthetic = (
        "-o --n-sequences --seq-len --features --sigma --lambda --p --q --smooth --no-smooth --kernel-size --seed"
    )
    assert set(synthetic.split()) <= given["generate-synthetic"]
    for name in ("process-covid", "process-rvr"):
        assert {"-i", "-o"} <= given[name]


@pytest.mark.parametrize("optimizer", list(OF_OPTIMIZER))
def test_every_option_of_a_training_arrives_at_its_parameter(optimizer, tmp_path, monkeypatch, capsys):
    import yaml

    from transformer_spectrum.config.tree import flatten

    monkeypatch.chdir(tmp_path)
    command = {"adam": "train"}.get(optimizer, f"train-{optimizer}")
    texts = {"model.type": "lstm", "loss.type": "cauchy", "device": "cpu", "data.split.test": "0.25"}
    texts |= {"model.embed_dim": "32", "data.sequence_length": "312", "data.output_length": "72", "loss.lam": "0.5"}
    texts |= {"model.heads": "8", "model.layers": "3", "training.batch_size": "7", "seed": "5"}
    table = {**TRAINING, **OF_OPTIMIZER[optimizer]}
    words = []
    for spelled, name in table.items():
        words += [spelled.partition("/")[0], texts.setdefault(name, "6")]
    main([command, *words, "--print-config"])
    printed = capsys.readouterr().out
    values = flatten(yaml.safe_load(printed))
    for spelled, name in table.items():
        value = ",".join(values[name]) if name == "data.file.value_columns" else values[name]
        assert str(value).removesuffix(".0") == texts[name]
        assert f"# flag {spelled.rpartition('/')[2]}\n" in printed


def ended_with(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a command"),
        (("trian",), "invalid choice: 'trian'"),
        (("train", "--lr", "fast"), "argument --lr: 'fast': must be a number"),
        (("train", "--epochs", "1.5"), "argument --epochs: '1.5': must be a whole number"),
        (("train", "--loss", "mea"), "argument -l/--loss: invalid choice: 'mea'"),
        (("train", "--epoch", "3"), "unrecognized arguments: --epoch"),
        (("trian",), "did you mean train"),
        (("analyse",), "did you mean analyze?"),
        (("--versoin",), "did you mean --version?"),
        (("train", "--loss", "mea"), "did you mean mse or mae?"),
        (("train", "--epoch=3"), "unrecognized arguments: --epoch=3; did you mean --epochs?"),
        (("train", "--learning-rate", "3"), "did you mean --lr?"),
        (("train", "--num_layers", "3", "--set_", "a=1"), "did you mean --num-layers and --set?"),
        (("train-es", "--pop-size", "3"), "did you mean --popsize?"),
        (("train", "stray"), "unrecognized arguments: stray; see"),
        (("train", "--set", "adam.epoch=3"), "did you mean adam.epochs?"),
        (("train", "--epochs", "0"), "adam.epochs = 0: must be"),
        (("train", "-d", "no.npy"), "no.npy: no such file"),
        (("train", "-d", "covid"), "data/raw/covid: no such folder; run transformer-spectrum download-covid first"),
        (("train", "-c", "no.yaml"), "no.yaml: no such file"),
        (("train", "--resume", "no"), "no: not the folder of a run"),
        (("forecast", "no", "-d", "a.csv", "-o", "b.csv"), "no: no such file or folder"),
        (("generate-synthetic", "-o", "a.txt"), "a.txt: a data set must end in"),
        (("process-covid", "-o", "a.csv"), "--input = data/raw/covid: no such file; download it first"),
        (("process-covid", "-i", ".", "-o", "a.csv"), "--input = .: holds no series.csv; download it first"),
        (("info", "--features", "0"), "--features = 0: must be >= 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ended_with(2, *arguments)
    said = capsys.readouterr().err.splitlines()
    assert words in said[-1]
    assert len(said) == 1
    assert not list(tmp_path.rglob("*.json"))


def test_a_defect_is_one_line_and_exit_code_1_and_debug_shows_where(monkeypatch, capsys):
    def fail(chosen):
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(parameters, "run", fail)
    ended_with(1, "parameters")
    assert capsys.readouterr().err == "transformer-spectrum: failed: ZeroDivisionError: a b (--debug shows where)\n"
    for arguments in (("parameters", "--debug"), ("--debug", "parameters")):
        ended_with(1, *arguments)
        assert "Traceback" in capsys.readouterr().err


def test_debug_shows_where_bad_input_was_found_and_the_exit_code_stays(monkeypatch, capsys):
    def fail(chosen):
        raise InputError("bad")

    monkeypatch.setattr(parameters, "run", fail)
    ended_with(2, "parameters", "--debug")
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("transformer-spectrum: error: bad\n")


def test_an_interruption_is_exit_code_130(monkeypatch, capsys):
    def interrupt(chosen):
        raise KeyboardInterrupt

    monkeypatch.setattr(parameters, "run", interrupt)
    ended_with(130, "parameters")
    assert capsys.readouterr().err == "transformer-spectrum: interrupted\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m transformer_spectrum.cli schema params | head -1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("{\n", "")


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"transformer-spectrum {__version__}\n"


def test_bash_completes_commands_options_and_choices(tmp_path, capsys):
    main(["completion", "bash"])
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out)

    def complete(*words):
        given = " ".join(("transformer-spectrum", *words))
        text = f"source {script}; COMP_WORDS=({given} ''); COMP_WORDS=({given}); COMP_CWORD={len(words)}; "
        text += '_shtab_transformer_spectrum; echo "${COMPREPLY[@]}"'
        ended = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True, timeout=60)
        return ended.stdout.split()

    assert complete("generate") == ["generate-synthetic"]
    assert complete("train", "--ep") == ["--epochs"]
    assert complete("train", "--loss", "ca") == ["cauchy"]


def test_zsh_gets_a_script_with_every_command(capsys):
    main(["completion", "zsh"])
    script = capsys.readouterr().out
    assert script.startswith("#compdef transformer-spectrum")
    for name in COMMANDS:
        assert f'"{name}:' in script or f"{name}:" in script


def test_info_counts_the_weights_of_the_model(capsys):
    from transformer_spectrum.config.resolve import Asked, resolve
    from transformer_spectrum.training import build

    arguments = ("--embed-dim", "16", "--num-layers", "1", "--features", "2")
    main(["info", *arguments, "--device", "cpu", "--params", str(ROOT / "params.yaml")])
    printed = capsys.readouterr().out
    flags = {"model.embed_dim": (16, "x"), "model.layers": (1, "x")}
    model = build.model(resolve(Asked(flags, params=str(ROOT / "params.yaml"))).params, 2)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert f"transformer, {total:,} weights" in printed
    counted = [int(line.split()[-2].replace(",", "")) for line in printed.splitlines() if line.startswith("  ")]
    assert sum(counted) == total
    assert f"{__version__}\n" in printed
    assert "torch:" in printed
