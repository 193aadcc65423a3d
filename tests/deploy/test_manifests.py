"""The manifests in k8s/: valid for a pinned version of Kubernetes, and true to the image and the command line."""

import copy
import re
import shutil
import subprocess
from pathlib import Path

import dask.config
import distributed  # declares Dask's settings
import jsonpatch
import kubernetes_validate
import pytest
import yaml

from transformer_spectrum.cli.main import parser
from transformer_spectrum.config import tree
from transformer_spectrum.study.running.worker import PRELOAD

ROOT = Path(__file__).parents[2]
VERSION = "1.34"
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "k8s").rglob("*.yaml") if path.name != "kustomization.yaml")
OVERLAY = yaml.safe_load((ROOT / "k8s/gpu/kustomization.yaml").read_text())


def resources(path: Path) -> list[dict]:
    return list(yaml.safe_load_all((ROOT / path).read_text()))


def jobs() -> dict[str, dict]:
    found = [resource for path in FILES for resource in resources(path) if resource["kind"] == "Job"]
    return {job["metadata"]["name"]: job for job in found}


def pod(job: dict) -> dict:
    return job["spec"]["template"]["spec"]


def container(job: dict) -> dict:
    (only,) = pod(job)["containers"]
    return only


def arguments(job: dict) -> list[str]:
    """Of the pod with index 3."""
    return [word.replace("$(JOB_COMPLETION_INDEX)", "3") for word in container(job)["args"]]


def patched(job: dict) -> dict:
    """What the overlay's patches make of a Job of the base."""
    result = copy.deepcopy(job)
    for patch in OVERLAY["patches"]:
        if patch["target"].get("name", job["metadata"]["name"]) == job["metadata"]["name"]:
            result = jsonpatch.JsonPatch(yaml.safe_load(patch["patch"])).apply(result)
    return result


def parts(resource: dict) -> list[dict]:
    """What Kubernetes knows in a resource: itself, or the pods and the service that the Dask operator makes of it."""
    if not resource["apiVersion"].startswith("kubernetes.dask.org"):
        return [resource]
    made = []
    for name in ("scheduler", "worker"):
        for kind, key in (("Pod", "spec"), ("Service", "service")):
            if key in resource["spec"].get(name, {}):
                spec = resource["spec"][name][key]
                made.append({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    return made


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_manifest_is_valid(path):
    for resource in resources(path):
        for part in parts(resource):
            kubernetes_validate.validate(part, VERSION, strict=True)


def dask_pods() -> dict[str, dict]:
    """File and name -> specification of the pods that the Dask operator makes."""
    found = [(path, resource) for path in FILES if path.parent.name == "dask" for resource in resources(path)]
    return {
        f"{path.stem} {part['metadata']['name']}": part["spec"]
        for path, resource in found
        for part in parts(resource)
        if part["kind"] == "Pod"
    }


def test_every_worker_offers_a_seat_and_is_reached_by_certificates_alone():
    cluster = resources(Path("k8s/dask/cluster.yaml"))[0]
    address = f"tls://{cluster['metadata']['name']}-scheduler:8786"
    assert set(dask_pods()) == {"cluster scheduler", "cluster worker", "gpu worker"}
    for name, spec in dask_pods().items():
        (only,) = spec["containers"]
        settings = {variable["name"]: variable["value"] for variable in only["env"]}
        assert settings["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        if name.endswith("scheduler"):
            assert only["command"] == ["dask", "scheduler"]
            assert "--protocol=tls" in only["args"]
            continue
        assert only["command"] == ["dask", "worker"]
        assert {address, "--nthreads=1", f"--preload={PRELOAD}"} <= set(only["args"])
        assert ("--resources=GPU=1" in only["args"]) == ("nvidia.com/gpu" in only["resources"]["limits"])
    assert f"--scheduler={address}" in container(jobs()["study"])["args"]


def test_dask_knows_every_setting_of_the_pods():
    for spec in dask_pods().values():
        collected = dask.config.collect_env(
            {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
        )
        for name, value in tree.flatten(collected).items():
            assert dask.config.get(name.replace("_", "-"), "missing") != "missing", (name, value)
    assert distributed.__version__


def test_a_misspelt_field_is_not_valid():
    job = jobs()["sweep"]
    job["spec"]["completion"] = job["spec"].pop("completions")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSION, strict=True)


@pytest.mark.parametrize("name", jobs())
def test_the_command_line_takes_the_arguments_of_every_job(name):
    given = arguments(jobs()[name])
    chosen = parser(given[0]).parse_args(given)
    assert chosen.command == given[0]


@pytest.mark.parametrize("name", jobs())
def test_a_pod_has_no_rights_and_runs_as_the_user_of_the_image(name):
    spec, only = pod(jobs()[name]), container(jobs()[name])
    user = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
    security = spec["securityContext"]
    assert (str(security["runAsUser"]), str(security["runAsGroup"])) == user
    assert security["runAsNonRoot"] is True
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} <= only["resources"]["limits"].keys() & only["resources"]["requests"].keys()


@pytest.mark.parametrize("name", jobs())
def test_the_volumes_of_the_image_are_claims_that_exist(name):
    claims = {resource["metadata"]["name"] for resource in resources(Path("k8s/base/claims.yaml"))}
    volumes = {volume["name"]: volume for volume in pod(jobs()[name])["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container(jobs()[name])["volumeMounts"]}
    declared = re.findall(r"^VOLUME (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
    for path in yaml.safe_load(declared):
        assert mounted[path]["persistentVolumeClaim"]["claimName"] in claims


def test_the_sweep_has_a_pod_for_every_cell(monkeypatch):
    from transformer_spectrum.cli.sweep import asked

    monkeypatch.chdir(ROOT)
    job = jobs()["sweep"]
    given = arguments(job)
    _, cells = asked(parser("sweep").parse_args(given))
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == len(cells)
    assert "--cell=$(JOB_COMPLETION_INDEX)" in container(job)["args"]


def test_the_table_is_of_the_same_cells():
    sweep, table = (container(jobs()[name])["args"] for name in ("sweep", "table"))
    assert [word for word in sweep if not word.startswith("--cell")] == table


def test_the_overlay_asks_for_a_gpu_and_uses_it():
    for name in ("train", "sweep"):
        job = patched(jobs()[name])
        kubernetes_validate.validate(job, VERSION, strict=True)
        assert container(job)["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert pod(job)["tolerations"][0]["key"] == "nvidia.com/gpu"
        given = " ".join(arguments(job))
        assert "cuda" in given
        assert "cpu" not in given
        parser(arguments(job)[0]).parse_args(arguments(job))


def built(folder: str) -> dict[str, dict]:
    """What kustomize makes of a folder."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl, which has kustomize")
    made = subprocess.run(
        [program, "kustomize", str(ROOT / folder)], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return {f"{one['kind']} {one['metadata']['name']}": one for one in yaml.safe_load_all(made)}


@pytest.mark.parametrize("folder", ["k8s/base", "k8s/gpu"])
def test_kustomize_makes_valid_manifests_of_all(folder):
    made = built(folder)
    assert set(made) == {"PersistentVolumeClaim data", "PersistentVolumeClaim runs", "Job train", "Job sweep"}
    for resource in made.values():
        kubernetes_validate.validate(resource, VERSION, strict=True)


def test_kustomize_patches_as_the_overlay_says():
    made = built("k8s/gpu")
    for name in ("train", "sweep"):
        job = made[f"Job {name}"]
        assert container(job)["image"].endswith("-cuda")
        assert container(job)["args"] == container(patched(jobs()[name]))["args"]
        assert container(job)["resources"] == container(patched(jobs()[name]))["resources"]
