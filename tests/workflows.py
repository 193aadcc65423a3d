"""The workflows of this repository, read from their files, and their `run:` steps carried out."""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github/workflows"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
SHELL = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]


def workflow(name: str) -> dict:
    """A workflow; YAML 1.1 reads its key `on` as true."""
    tree = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return {"on" if key is True else key: value for key, value in tree.items()}


def workflows() -> dict[str, dict]:
    return {path.stem: workflow(path.stem) for path in sorted(FOLDER.glob("*.yaml"))}


def evaluated(text: str, values: dict[str, str]) -> str:
    """A value of the workflow with its expressions filled in; one that `values` does not have is an error."""
    return EXPRESSION.sub(lambda found: values[found[1]], text)


def run_steps(job: dict, folder: Path, environment: dict[str, str], values: dict[str, str]) -> str:
    """Runs the `run:` steps of a job in `folder`, each with its own `env` and GitHub's shell; returns what they print.

    The steps that use an action are not run: the caller has done what they would do.
    """
    printed = ""
    for step in job["steps"]:
        if "run" in step:
            assert "if" not in step
            own = {key: evaluated(str(value), values) for key, value in step.get("env", {}).items()}
            ended = subprocess.run(
                [*SHELL, step["run"]],
                cwd=folder,
                env=environment | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=1200,  # seconds; a minute of computing has taken nine on a busy machine
            )
            assert ended.returncode == 0, f"{step['name']}: {ended.stdout}"
            printed += ended.stdout
    return printed
