"""The pipeline as a whole, at its smallest scale: what runs, what runs again, what is lost when it fails (nothing)."""

import hashlib
import json
import re

import pytest
import yaml

from transformer_spectrum.config.load import PARAMETERS
from transformer_spectrum.config.schema import FileParams

pytestmark = pytest.mark.slow

SERIES_SETTINGS = ("sequence_length", "output_length", "season")
OPTIMIZERS = ("train adam", "train es", "train ga")
TRAININGS = {"train-adam", "train-es", "train-ga"}
ALL = {"fetch-covid", "fetch-rvr", "synthesize", "prepare", "spectra", "report"} | TRAININGS


def ran(printed: str) -> set[str]:
    return set(re.findall(r"Running stage '([\w-]+)'", printed))


def test_every_stage_runs_from_nothing(finished):
    assert ran((finished.root / "first_run.txt").read_text()) == ALL


def test_nothing_runs_again_when_nothing_changed(pipeline):
    assert ran(pipeline.run("dvc", "repro")) == set()
    assert "up to date" in pipeline.run("dvc", "status", "dvc.yaml")


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"loss__q": 3.0}, TRAININGS | {"spectra", "report"}),
        ({"es__popsize": 10}, {"train-es", "report"}),
        ({"ga__mutation_stdev": 0.03}, {"train-ga", "report"}),
        ({"adam__learning_rate": 0.002}, {"train-adam", "report"}),
        ({"model__layers": 2}, TRAININGS | {"report"}),
        ({"spectra__hill_fraction": 0.5}, {"spectra", "report"}),
        ({"data__covid__countries": ["France"]}, {"fetch-covid"}),
        ({"data__synthetic__season": 12}, {"prepare", "report"}),
        ({"training__batch_size": 4}, TRAININGS | {"report"}),
        ({"data__describe__fit_points": 500}, {"prepare", "report"}),
        ({"data__synthetic__q": 2.0}, {"synthesize", "prepare", "report"}),
        ({"training__workers": 3, "training__memory_mib": 64}, {"report"}),
        ({"data__covid__smoothing_days": 3, "data__covid__season": 14, "data__rvr_flu__season": 14}, set()),
        ({"tracking__mlflow": "sqlite:///mlflow.db"}, set()),
    ],
)
def test_a_changed_parameter_changes_only_the_stages_that_read_it(pipeline, values, changed):
    pipeline.set(**values)
    assert set(json.loads(pipeline.run("dvc", "status", "dvc.yaml", "--json"))) == changed


def test_every_other_parameter_is_read_by_some_stage(pipeline):
    """So that a new one cannot be left out of dvc.yaml, where sections are named in pieces; the report reads all."""
    idle = {"training.workers", "training.memory_mib"}
    idle |= {"data.covid.smoothing_days", "data.covid.season", "tracking.mlflow"}
    idle |= {f"data.file.{key}" for key in FileParams.model_fields}  # ${data.dataset} is synthetic here
    idle |= {f"data.{name}.{key}" for name in ("rvr_beds", "rvr_flu") for key in SERIES_SETTINGS}
    stages = yaml.safe_load((pipeline.root / "dvc.yaml").read_text())["stages"]
    del stages["report"]
    named = {name.replace("${data.dataset}", "synthetic") for stage in stages.values() for name in stage["params"]}
    unread = {
        name for name in PARAMETERS if not any(name == section or name.startswith(f"{section}.") for section in named)
    }
    assert unread == idle


@pytest.mark.parametrize(
    ("names", "stages"),
    [
        (("report/run_page/page.css", "report/run_page/answer_words.py"), {"report"}),
        (("report/pictures/overview.py", "analysis/of_training/summary.py"), {"spectra"}),
        (("spectra/power_law.py",), {"spectra", "report"}),
        (("optimizers/gradient/adam.py",), {"train-adam"}),
        (("optimizers/evolution/sep_cma.py",), {"train-es"}),
        (("optimizers/ga.py",), {"train-ga"}),
        (("training/loop.py", "models/transformer.py"), TRAININGS),
        (("data/describe/description.py", "data/files/role_assignment.py"), {"prepare"}),
        (("study/tune.py", "analysis/loading.py", "weights/anatomy/dissection.py", "tracking/recorder.py"), set()),
    ],
)
def test_changed_code_concerns_only_the_stages_that_run_it(pipeline, names, stages):
    for name in names:
        with (pipeline.root / "src/transformer_spectrum" / name).open("r+") as stream:  # it must be there
            stream.seek(0, 2)
            stream.write("\n")
    assert set(json.loads(pipeline.run("dvc", "status", "dvc.yaml", "--json"))) == stages


def test_changed_parameters_run_again_only_what_depends_on_them(pipeline):
    # A description alone changes no window, so no training runs again. What a changed training runs again, the spectra
    # and the report, is seen in test_plots.py, which needs that run anyway.
    pipeline.set(data__describe__fit_points=500, data__covid__countries=["France"])
    assert ran(pipeline.run("dvc", "repro")) == {"fetch-covid", "prepare", "report"}


def test_all_searchers_start_from_the_same_weights(pipeline):
    from transformer_spectrum.training.records.history import History

    histories = [History.load(pipeline.root / f"models/{name}/history.npz") for name in ("adam", "es", "ga")]
    for other in histories[1:]:
        assert (other.names == histories[0].names).all()
        first, second = histories[0].singular_values[0], other.singular_values[0]
        assert ((first == second) | (first != first)).all()


def test_the_metrics_are_a_dozen_numbers_and_all_scores_lie_beside_them(pipeline):
    shown = json.loads(pipeline.run("dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    assert set(files) == {f"metrics/{name}/metrics.json" for name in ("adam", "es", "ga")} | {"metrics/effects.json"}
    for name in ("adam", "es", "ga"):
        metrics = files[f"metrics/{name}/metrics.json"]["data"]
        assert list(metrics) == ["step", "best_step", "validation_mae", "change_stable_rank", "test_mae"]
        scores = json.loads((pipeline.root / f"metrics/{name}/scores.json").read_text())
        assert scores["optimizer"] == name
        assert scores["standin_data"] is False
        assert scores["free_running"]["mae"] == metrics["test_mae"] > 0
        curve = (pipeline.root / f"metrics/{name}/plots/metrics/validation_mae.tsv").read_text().split()[2:]
        errors = {int(step): float(value) for step, value in zip(curve[::2], curve[1::2], strict=True)}
        assert scores["best_validation_mae"] == metrics["validation_mae"] == min(errors.values())
        assert errors[scores["best_step"]] == scores["best_validation_mae"]
        assert (metrics["step"], metrics["best_step"]) == (max(errors), scores["best_step"])
        effects = files["metrics/effects.json"]["data"][name]
        assert (effects["step"], round(scores["best_validation_mae"], 5)) == (
            scores["best_step"],
            round(effects["validation_mae"], 5),
        )


@pytest.mark.parametrize("stage", ["synthesize", "prepare", "train adam", "spectra", "report"])
def test_a_full_disk_is_one_line_that_names_a_file_and_loses_nothing(pipeline, stage):
    before = pipeline.files()
    printed = pipeline.stage(stage, code=2, largest_file=9000)
    errors = [line for line in printed.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert re.search(r"(data|models|metrics|plots|report)/\w+", errors[0])
    assert "Traceback" not in printed
    assert pipeline.files() == before


OF_OTHERS = (
    *(
        "data/processed/synthetic.npy",
        "data/raw/synthetic/notes.txt",
        "data/raw/covid/mine.csv",
        "models/adam/notes.md",
    ),
    *(
        "models/es/deep/mine.npy",
        "metrics/adam/notes.txt",
        "metrics/ga/plots/mine.csv",
        "plots/mine.png",
        "report/a.css",
    ),
)


def test_a_stage_replaces_its_own_files_and_neither_it_nor_dvc_takes_away_one_of_others(copy_of_finished):
    clone = copy_of_finished("of others")
    for name in OF_OTHERS:
        (clone.root / name).parent.mkdir(exist_ok=True)
        (clone.root / name).write_text(name)
    # DVC removes the outputs of what it runs first, and that is all but fetch-rvr.
    clone.set(data__synthetic__q=2.0, data__covid__countries=["France"])
    assert ran(clone.run("dvc", "exp", "run")) == ALL - {"fetch-rvr"}
    assert [name for name in OF_OTHERS if (clone.root / name).read_text() != name] == []
    folders = ("data/raw/", "data/processed/", "models/", "report/")
    outs = {path for path in clone.files() if path.startswith(folders)} - {*OF_OTHERS}
    stages = yaml.safe_load((clone.root / "dvc.yaml").read_text())["stages"].values()
    named = {path for stage in stages for out in stage["outs"] for path in out}
    assert outs == {path for path in named if path.startswith(folders)}
    clone.run("dvc", "checkout")
    assert [name for name in OF_OTHERS if (clone.root / name).read_text() != name] == []


@pytest.mark.parametrize(
    ("path", "stage"), [("data/raw/synthetic/series.npy", "synthesize"), ("data/raw/covid/series.csv", "fetch_covid")]
)
def test_raw_series_of_somebody_else_are_not_written_over(pipeline, path, stage):
    (pipeline.root / path).write_text("mine")
    printed = pipeline.run("dvc", "repro", code=255)
    assert re.search(rf"error: {path}: is not what provenance\.json beside it describes", printed)
    assert (pipeline.root / path).read_text() == "mine"


def test_a_training_that_was_computed_before_is_taken_from_dvcs_run_cache(pipeline, finished):
    def trained() -> str:
        environment = {**pipeline.environment, "DVC_STAGE": "train-adam"}  # as DVC would run it
        code, printed = pipeline.nursery.start(["stages/train.py", "adam"], pipeline.root, environment).wait()
        assert code == 0, printed
        return printed

    def files(clone) -> dict[str, bytes]:
        return {name: content for name, content in clone.files().items() if "/adam/" in name}

    committed = files(finished)
    assert "all 6 steps done" in trained()  # nothing has changed, so somebody has forced it
    pipeline.set(adam__learning_rate=0.004)
    assert "all 6 steps done" in trained()
    changed = files(pipeline)
    pipeline.set(adam__learning_rate=None)
    (pipeline.root / "metrics/adam/notes.txt").write_text("mine")
    assert "train-adam: taken from DVC's run cache" in trained()
    assert files(pipeline).keys() == {*committed, "metrics/adam/notes.txt"}
    assert {name: x for name, x in files(pipeline).items() if name.startswith("models/")} == {
        name: x for name, x in committed.items() if name.startswith("models/")
    }
    pipeline.set(adam__learning_rate=0.004)
    weights = hashlib.md5(changed["models/adam/last.safetensors"], usedforsecurity=False).hexdigest()
    damaged = pipeline.root / ".dvc/cache/files/md5" / weights[:2] / weights[2:]
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_bytes(b"damaged")
    printed = trained()
    assert "taken from DVC's run cache" not in printed
    assert "all 6 steps done" in printed
    assert files(pipeline)["models/adam/last.safetensors"] == changed["models/adam/last.safetensors"]


def test_infinite_q_is_drawn_and_its_provenance_says_so(pipeline):
    pipeline.set(data__synthetic__q=float("inf"), data__synthetic__kernel__type="none", loss__q=float("inf"))
    pipeline.stage("synthesize")
    about = json.loads((pipeline.root / "data/raw/synthetic/provenance.json").read_text())
    assert about["parameters"]["q"] == "Infinity"
    pipeline.stage("prepare")
    pipeline.stage("train adam")


def test_a_stand_in_is_never_passed_off_as_data(pipeline):
    printed = (pipeline.root / "first_run.txt").read_text()
    assert printed.lower().count("stand-in") >= 2
    for folder in ("covid", "rvr_beds", "rvr_flu"):
        about = json.loads((pipeline.root / f"data/raw/{folder}/provenance.json").read_text())
        assert about["standin"] is True
    assert json.loads((pipeline.root / "metrics/data.json").read_text())["provenance"]["standin"] is False
    pipeline.set(data__dataset="covid")
    pipeline.stage("prepare")
    pipeline.stage("train adam")
    assert json.loads((pipeline.root / "metrics/data.json").read_text())["provenance"]["standin"] is True
    assert json.loads((pipeline.root / "metrics/adam/scores.json").read_text())["standin_data"] is True


BAD = [
    ("train adam", "loss__q", 0.8, "loss.q = 0.8 with loss.p = 2: the SGT variance needs p*q > 2"),
    ("train ga", "model__heads", 3, "model.heads = 3 with model.embed_dim = 16: must divide it"),
    ("prepare", "data__sequence_length", 96, "data.synthetic.length = 48 with data.sequence_length = 96"),
    ("prepare", "data__split__by", "time", "data.sequence_length = 48 with data.split.by = time"),
    ("spectra", "spectra__min_tail", 1, "spectra.min_tail = 1"),
    ("train es", "device", "mps", "device = mps"),
]


@pytest.mark.parametrize(("stage", "name", "value", "words"), BAD)
def test_a_bad_parameter_is_one_line_and_loses_nothing(pipeline, stage, name, value, words):
    before = pipeline.files()
    pipeline.set(**{name: value})
    printed = pipeline.stage(stage, code=2)
    lines = [line for line in printed.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in printed
    assert pipeline.files() == before


def test_a_bad_parameter_stops_the_pipeline_and_loses_nothing(pipeline):
    before = pipeline.files()
    _, name, value, words = BAD[0]
    pipeline.set(**{name: value})
    printed = pipeline.run("dvc", "repro", code=255)
    assert words in printed
    assert "Traceback" not in printed
    assert "exited with 2" in printed
    assert pipeline.files() == before


def test_an_unknown_parameter_is_one_line_from_a_stage(pipeline):
    pipeline.set(loss__qq=3)
    for name in ("synthesize", "train es", "spectra", "report", "fetch_rvr"):
        printed = pipeline.stage(name, code=2)
        assert printed.count("\n") == 1
        assert "loss.qq: unknown parameter; did you mean loss.q?" in printed


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("data/raw/synthetic/series.npy", "prepare"),
        ("data/raw/synthetic/provenance.json", "prepare"),
        ("data/processed/windows.npz", "train adam"),
        ("models/es/history.npz", "spectra"),
        ("models/ga/forecasts.npz", "spectra"),
        ("metrics/es/scores.json", "report"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_missing_or_corrupt_input_is_one_line_and_loses_nothing(pipeline, path, stage, damage):
    whole = (pipeline.root / path).read_bytes()
    (pipeline.root / path).unlink()
    if damage == "corrupt":
        (pipeline.root / path).write_bytes(whole[: len(whole) // 2])
    before = pipeline.files()
    printed = pipeline.stage(stage, code=2)
    lines = [line for line in printed.splitlines() if "error" in line]
    assert len(lines) == 1
    assert path in lines[0]
    assert "Traceback" not in printed
    assert pipeline.files() == before
