"""The reading of the Dockerfile that stands for Docker; `make image-check` does the rest, in minutes."""

import subprocess
from pathlib import Path

import pytest
import yaml

from transformer_spectrum.config.wheel_files import FILES
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def image(image_check, tmp_path):
    """An image of a small context."""
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    for name in ("src/code.py", "secret.txt", "notes.txt"):
        (context / name).write_text(name)
    (context / ".dockerignore").write_text("# a comment\nsecret.*\n")
    (tmp_path / "work").mkdir()
    return image_check.Image(tmp_path / "work", context, {"INDEX": "given"})


def run(image, image_check, tmp_path, text: str, target: str):
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    image.build(target, image_check.stages(path))


def test_the_stages_of_our_dockerfile_are_known(image_check):
    stages = image_check.stages(ROOT / "Dockerfile")
    assert list(stages)[-1] == "cli"
    assert set(image_check.TRIED) <= set(stages)
    for name in image_check.TRIED:
        users = [value for instruction, value in stages[name].instructions if instruction == "USER"]
        assert users == ["1000:1000"]
        assert ("VOLUME", '["/app/data", "/app/runs"]') in stages[name].instructions


def copied(image_check, tmp_path, target: str) -> Path:
    """A folder with what the COPY instructions of a stage of our Dockerfile take from the repository."""
    (tmp_path / "ours").mkdir()
    image = image_check.Image(tmp_path / "ours", ROOT, {})
    image.state.folder = image.root / "app"
    for instruction, value in image_check.stages(ROOT / "Dockerfile")[target].instructions:
        if instruction == "COPY" and "--from" not in value:
            image.copy(value)
    return image.state.folder


def test_the_build_has_every_file_that_setup_packs(image_check, tmp_path):
    folder = copied(image_check, tmp_path, "build")
    assert [name for name in ("pyproject.toml", *FILES.values()) if not (folder / name).is_file()] == []


def test_the_pipeline_has_every_file_that_its_stages_depend_on(image_check, tmp_path):
    folder = copied(image_check, tmp_path, "pipeline")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    needed = {dep for stage in stages.values() for dep in stage["deps"] if dep.startswith(("src/", "stages/"))}
    assert len(needed) > 20
    assert [name for name in sorted(needed) if not (folder / name).exists()] == []
    tracked = subprocess.run(["git", "ls-files", ".dvc"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name in tracked.split() if not (folder / name).exists()] in ([], [".dvc/.gitignore"])


def test_no_secret_of_dvc_or_git_is_in_the_image(image_check, tmp_path):
    folder = copied(image_check, tmp_path, "pipeline")
    assert not (folder / ".git").exists()
    assert {path.name for path in (folder / ".dvc").iterdir()} == {"config", "plots"}


def test_what_dockerignore_names_is_not_copied(image, image_check, tmp_path):
    run(image, image_check, tmp_path, "FROM x AS one\nWORKDIR /app\nCOPY . .\n", "one")
    assert (image.root / "app/notes.txt").exists()
    assert not (image.root / "app/secret.txt").exists()
    assert (image.root / "app/src/code.py").read_text() == "src/code.py"


def test_copying_what_is_not_there_is_an_error(image, image_check, tmp_path):
    with pytest.raises(InputError, match=r"COPY secret\.txt: nothing of that name"):
        run(image, image_check, tmp_path, "FROM x AS one\nCOPY secret.txt ./\n", "one")


def test_a_stage_has_only_what_it_takes_from_another(image, image_check, tmp_path):
    text = (
        "FROM x AS build\nARG INDEX=default\nWORKDIR /build\nRUN mkdir /opt && mkdir /opt/venv\n"
        "RUN echo $INDEX > /opt/venv/index\n"
        "FROM x AS last\nENV PLACE=/opt/venv\nCOPY --from=build /opt/venv /opt/venv\nRUN cp $PLACE/index /app\n"
    )
    run(image, image_check, tmp_path, text, "last")
    assert (image.root / "opt/venv/index").read_text() == "given\n"
    assert (image.root / "app").read_text() == "given\n"
    assert not (image.root / "build").exists()


def test_a_command_that_a_slim_image_lacks_is_not_found(image, image_check, tmp_path):
    with pytest.raises(InputError, match="exit code 127"):
        run(image, image_check, tmp_path, "FROM x AS one\nRUN git --version\n", "one")


def test_an_instruction_that_is_not_understood_is_an_error(image, image_check, tmp_path):
    with pytest.raises(InputError, match="ADD a b: image_check cannot"):
        run(image, image_check, tmp_path, "FROM x AS one\nADD a b\n", "one")


def test_a_volume_that_no_step_has_made_is_an_error(image, image_check, tmp_path):
    with pytest.raises(InputError, match="VOLUME /app/data"):
        run(image, image_check, tmp_path, 'FROM x AS one\nVOLUME ["/app/data"]\n', "one")
