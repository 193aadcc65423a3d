"""Public functions whose docstring has no example that runs, by room, each with what it would need."""

MACHINE = "its result depends on the machine"
DVC = "talks to git, dvc or the network"
GPU = "needs a CUDA device"
MLFLOW = "needs MLflow and its store"
NETWORK = "asks the network"
OURS = "writes files of this repository"
PROCESS = "changes the whole process or starts others"
SLOW = "draws figure files or starts a browser's engine, which takes seconds"
TRAINING = "needs a training and its folders"

EXEMPT: dict[str, dict[str, str]] = {
    "cli": {
        "download_covid.download": NETWORK,
        "download_covid.run": NETWORK,
        "download_rvr.run": NETWORK,
    },
    "data": {
        "fetch.downloads.download": NETWORK,
        "fetch.exports.fetch_covid": NETWORK,
        "fetch.exports.fetch_rvr": NETWORK,
        "fetch.sources.fetch": NETWORK,
    },
    "report": {
        "dvc_plots.__main__.main": OURS,
        "dvc_plots.pictures.write_pngs": DVC,
        "page.vega.bundle": SLOW,
        "pictures.outputs.write_outputs": SLOW,
        "study_page.outputs.write_study_report": SLOW,
    },
    "runtime": {
        "reproduction.lost": DVC,
        "reproduction.reproduce": DVC,
        "verification.same_kind": MACHINE,
        "verification.verify": DVC,
    },
    "study": {
        "answer.steps.plan_study": OURS,
        "answer.steps.run_study": TRAINING,
        "answer.tabulated.tabulate_study": TRAINING,
        "answer.trainings.run_cells": TRAINING,
        "answer.tuned.tune": TRAINING,
        "conclusions.steps.judge_whole_study": TRAINING,
        "conclusions.published.report_study": TRAINING,
        "running.cluster.connected": PROCESS,
        "running.execution.execute": TRAINING,
        "running.results.asked_spectra": TRAINING,
        "running.results.fetch": NETWORK,
        "running.results.is_standin_training": TRAINING,
        "running.results.outcome": TRAINING,
        "running.results.put_spectra": TRAINING,
        "running.results.put_training": TRAINING,
        "running.results.put_windows": TRAINING,
        "running.results.raw_series": TRAINING,
        "single_run.begin": TRAINING,
        "single_run.carry_out": TRAINING,
        "sweep.steps.run_one": TRAINING,
        "sweep.steps.sweep": TRAINING,
        "running.work.keep": TRAINING,
        "running.work.measure": TRAINING,
        "running.work.measure_path": TRAINING,
        "running.work.train_cells": TRAINING,
    },
    "tracking": {
        "mlflow_spectra.attach_spectra": MLFLOW,
        "mlflow_store.client_of": MLFLOW,
        "mlflow_store.experiment_of": MLFLOW,
        "mlflow_store.import_mlflow": MLFLOW,
        "mlflow_store.run_of": MLFLOW,
    },
    "training": {
        "artifacts.write_results": TRAINING,
        "capture.record_on_cuda": GPU,
        "setup.make_deterministic": PROCESS,
        "train.train": TRAINING,
    },
}
"""Room -> function, seen from the room -> reason."""
