"""What the workflows promise: pinned actions, few rights, one script."""

import re

import pytest
import yaml
from workflows import EXPRESSION, ROOT, workflow, workflows

PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d")


def steps(tree: dict):
    """Every (job's name, job, step)."""
    return [(name, job, step) for name, job in tree["jobs"].items() for step in job["steps"]]


@pytest.mark.parametrize("name", workflows())
def test_every_action_is_pinned_by_its_whole_hash_and_says_its_version(name):
    text = (ROOT / f".github/workflows/{name}.yaml").read_text()
    used = re.findall(r"uses:.*", text)
    assert used
    for line in used:
        assert PINNED.match(line), line


@pytest.mark.parametrize("name", workflows())
def test_nothing_but_the_job_that_comments_may_write(name):
    tree = workflow(name)
    assert tree["permissions"] == {}
    writing = {job for job, content in tree["jobs"].items() if "write" in content["permissions"].values()}
    assert writing <= {"comment"}
    for job, _, step in steps(tree):
        # The job that has a token runs no code of the pull request.
        if job in writing and "run" in step:
            assert step["run"].startswith("cml comment create ")
            assert "\n" not in step["run"].strip()


@pytest.mark.parametrize("name", workflows())
def test_no_checkout_leaves_its_token_behind(name):
    found = [step for _, _, step in steps(workflow(name)) if step.get("uses", "").startswith("actions/checkout@")]
    assert found
    for step in found:
        assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", workflows())
def test_no_expression_is_pasted_into_a_shell_line(name):
    for _, _, step in steps(workflow(name)):
        assert not EXPRESSION.search(step.get("run", "")), step


@pytest.mark.parametrize("name", workflows())
def test_packages_are_cached_and_an_older_run_gives_way(name):
    tree = workflow(name)
    pythons = [step for _, _, step in steps(tree) if step.get("uses", "").startswith("actions/setup-python@")]
    assert [step["with"]["cache"] for step in pythons] == ["pip"]
    assert "cancel-in-progress" in tree["concurrency"]


def test_a_pull_request_from_a_fork_is_reported_without_a_comment():
    job = workflow("cml")["jobs"]["comment"]
    assert "head.repo.full_name == github.repository" in job["if"]
    assert "if" not in workflow("cml")["jobs"]["experiment"]


def test_gitlab_runs_the_same_commands():
    tree = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    for name, job in workflow("cml")["jobs"].items():
        ours = [step["run"].strip() for step in job["steps"] if "run" in step]
        theirs = [line.replace("CI_MERGE_REQUEST_IID", "PULL_REQUEST") for line in tree[name]["script"]]
        assert theirs == ours
    check = workflow("ci")["jobs"]["check"]
    assert tree["check"]["script"] == [step["run"] for step in check["steps"] if "run" in step]
    assert tree["check"]["parallel"]["matrix"] == [{"TARGET": check["strategy"]["matrix"]["target"]}]
