"""Files and words that look like input and are none: each ends soon, in one line and exit code 2."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from readers import judged
from safetensors.torch import save_file
from small_runs import SMALL

from transformer_spectrum.cli.main import main
from transformer_spectrum.config.aliases import read_config
from transformer_spectrum.runtime.errors import LINE, InputError
from transformer_spectrum.runtime.files import read_arrays, read_json, read_table, sha256
from transformer_spectrum.runtime.parsing import read_npy, read_text
from transformer_spectrum.weights.anatomy.fused import layout_of, sections


def refused(words: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) <= LINE + 100
    return line


def sparse(indices: list[list[int]]) -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor(indices), torch.ones(1), (16, 16), check_invariants=False)


@pytest.mark.parametrize("column", [10**9, -(10**9), 16])
def test_a_sparse_tensor_whose_indices_lie_outside_is_never_made_dense(column, tmp_path, capsys):
    torch.save({"a.weight": sparse([[5], [column]])}, tmp_path / "x.pt")
    assert "x.pt: not a readable torch state dict" in refused(["analyze", str(tmp_path / "x.pt")], capsys)


@pytest.mark.parametrize("shape", [(16, 16, 10**6), (10**6, 8, 64)])
def test_a_small_file_cannot_claim_much_memory_by_strides_of_zero(shape, tmp_path, capsys):
    torch.save({"a.weight": torch.zeros(1).expand(shape), "b.weight": torch.randn(9, 9)}, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 4000
    assert "bytes more than it has" in refused(["analyze", str(tmp_path / "x.pt")], capsys)


def test_a_little_of_that_is_fine(tmp_path, capsys):
    tensors = {"mask": torch.zeros(1).expand(256, 256), "b.weight": torch.randn(9, 9)}
    torch.save(tensors, tmp_path / "x.pt")
    main(["analyze", str(tmp_path / "x.pt"), "--shuffles", "0", "--figures", "0"])
    assert "left out: mask: a bias or a mask by its name" in capsys.readouterr().out


def test_a_name_that_is_no_text_is_refused_and_an_empty_one_measured(tmp_path, capsys):
    torch.save({"a\ud800": torch.randn(16, 16)}, tmp_path / "x.pt")
    assert "surrogates not allowed" in refused(["analyze", str(tmp_path / "x.pt")], capsys)
    save_file({"": torch.randn(16, 16), "b.weight": torch.randn(9, 9)}, tmp_path / "x.safetensors")
    main(["analyze", str(tmp_path / "x.safetensors"), "--shuffles", "0", "--figures", "0"])
    assert "2 matrices of 2 of 2 tensors" in capsys.readouterr().out


def test_a_tensor_of_more_dimensions_than_numpy_knows_is_measured(tmp_path, capsys):
    shape, entries = [1] * 3000 + [16, 16], torch.randn(16, 16)
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 1024]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + entries.numpy().tobytes())
    main(["analyze", str(tmp_path / "x.safetensors"), "--shuffles", "0", "--figures", "0"])
    assert "1 matrix of 1 of 1 tensor, 256 of 256 weights" in capsys.readouterr().out


def test_a_model_type_that_is_no_text_says_nothing():
    config = {"model_type": [1], "text_config": {"model_type": {}, "hidden_size": 8}}
    assert [layout_of(section) for section in sections(config)] == [None, None]
    assert sections(config)[1] == {"hidden_size": 8}


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_text(path, "valid YAML"),
        read_npy,
        read_json,
        lambda path: read_arrays(path, ["steps"]),
        read_table,
        sha256,
    ],
)
def test_a_pipe_that_nobody_writes_into_and_a_device_without_an_end_are_read_by_none(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match=f"{name}: is no regular file"):
            read(str(tmp_path / name))


def test_a_command_waits_for_no_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    pipe = str(tmp_path / "pipe")
    for words in (["overrides", pipe], ["train", "--print-config", "--params", pipe]):
        assert "pipe: is no regular file" in refused(words, capsys)


@pytest.mark.parametrize(
    "text", ["a." * 120_000 + "a = 1", "[" + "a . " * 60_000 + "a]", "x = {" + "'a'." * 60_000 + "a = 1}"]
)
def test_keys_that_tomllib_would_keep_every_beginning_of_are_refused_in_bounds(text, tmp_path):
    (tmp_path / "dots.toml").write_text(text)
    assert "dots.toml: not valid TOML of this program (a key of more than 100 names)" in judged(
        read_config, tmp_path / "dots.toml"
    )


def test_a_key_that_comes_twice_among_tens_of_thousands_is_found_in_bounds(tmp_path):
    names = [f"k{number:x}" for number in range(37_000)]
    (tmp_path / "twice.yaml").write_text("{" + ",".join([*names, names[-1]]) + "}")
    assert "k9087 comes twice" in judged(read_config, tmp_path / "twice.yaml")


def test_a_shells_own_pipe_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"loss: {q: 3.0}")
    os.close(writing)
    try:
        assert read_text(f"/dev/fd/{reading}", "valid YAML") == "loss: {q: 3.0}"
    finally:
        os.close(reading)


@pytest.mark.parametrize("content", ["[]", "null", "5", '"x"', '{"a": 1}', '{"optimizer": [1]}'])
def test_a_record_of_another_shape_is_named(content, tmp_path, capsys):
    (tmp_path / "run.json").write_text(content)
    assert "run.json: " in refused(["train", "--resume", str(tmp_path)], capsys)


def test_a_link_to_itself_is_no_file(tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    out = str(tmp_path / "f.csv")
    assert "loop" in refused(["forecast", str(tmp_path / "loop"), "-d", str(tmp_path / "x.npy"), "-o", out], capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["generate-synthetic", "-o", "g.npy", "--seq-len", "9" * 50_000],
        ["train", f"--optx{'9' * 50_000}"],
        ["overrides", f"/dev/null/{'x' * 5_000}"],
    ],
    ids=["value", "option", "path"],
)
def test_what_was_typed_is_shown_shortened(words, capsys):
    refused(words, capsys)


def test_series_whose_squares_are_no_numbers_are_refused_before_anything_is_trained(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = np.sin(np.arange(60) / 5) + 0.3 * np.random.default_rng(0).normal(size=(40, 60))
    np.save("huge.npy", series * 1e300)
    line = refused(["train", "-d", "huge.npy", *SMALL, "--epochs", "1"], capsys)
    assert "must be below 1e+150" in line
    assert not list(Path("runs").glob("*/*"))


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_an_encoding_without_our_signs_gets_their_numbers(variables):
    environment = os.environ | {"PYTHONCOERCECLOCALE": "0", **variables}
    command = [sys.executable, "-m", "transformer_spectrum.cli", "parameters"]
    source = str(Path(__file__).parents[2] / "src")
    ended = subprocess.run(command, env=environment | {"PYTHONPATH": source}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\u2265" in ended.stdout


def test_what_was_filled_in_and_taken_for_what_is_said_only_where_it_matters(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("seed: 3\n")
    Path("cases.csv").write_text("date,v\n2022-01-01,1\n2022-01-02,x\n")
    words = ["train", "--dataset", "cases.csv", "--set", "data.output_length=7", "--set", "ga.popsize=8"]
    assert "cases.csv: row 2: v = 'x'" in refused(words, capsys)
    main([*words, "--print-config"])
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said][0::2] == ["params.yaml", "without effect on this training"]


@pytest.mark.parametrize("option", ["-c", "--params", "-n", "-d"])
def test_an_option_of_nothing_is_refused(option, capsys):
    assert f"{option}: must not be empty" in refused(["train", option, ""], capsys)


def test_a_run_that_goes_on_takes_no_other_option(tmp_path, capsys):
    (tmp_path / "run.json").write_text('{"name": "a", "optimizer": "adam", "ended": null}')
    for words in (["--print-config"], ["--runs", "elsewhere"]):
        line = refused(["train", "--resume", str(tmp_path), *words], capsys)
        assert f"--resume with {words[0]}: an interrupted run goes on as it was begun" in line


def test_a_loss_without_values_is_refused_before_a_run_is_begun(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("series.npy", np.random.default_rng(0).normal(size=(9, 300)).cumsum(axis=1))
    line = refused(["train", "-d", "series.npy", "--sgt-sigma", "1e-300"], capsys)
    assert "loss.type = sgt: p = 2 with q = 5 and sigma = 1e-300" in line
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--runs", "100000000"], "--runs = 100000000: must be from 1 to 10000"),
        (["--runs", "3", "--set", f"seed={2**63 - 2}"], "the last run's seed must fit 64 bits"),
    ],
)
def test_a_sweep_without_bounds_is_refused(words, rule, capsys):
    assert rule in refused(["sweep", "synthetic", "--dry-run", *words], capsys)


def test_runs_of_a_file_are_refused(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("")
    assert "a.csv: must be a folder" in refused(["runs", "--runs", str(tmp_path / "a.csv")], capsys)


def test_names_of_tensors_cannot_steer_a_terminal(tmp_path, capsys):
    names = ["\x1b[31mred.weight", "new\nline.weight", "nul\x00.weight", "turn\u202e.weight"]
    save_file({name: torch.randn(9, 9) for name in names}, tmp_path / "x.safetensors")
    main(["analyze", str(tmp_path / "x.safetensors"), "--shuffles", "3", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    written = (tmp_path / "out/matrices.csv").read_text() + (tmp_path / "out/index.html").read_text()
    for text in (printed.out, printed.err, written):
        assert not {"\x1b", "\x00", "\u202e"} & set(text)
    for name in (r"\x1b[31mred.weight", r"new\nline.weight", r"nul\x00.weight", r"turn\u202e.weight"):
        assert name.removesuffix(".weight") in printed.out
        assert name.removesuffix(".weight") in written
