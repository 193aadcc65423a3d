"""People who share: an author who has run the pipeline, remotes, and others who have none of it yet."""

import dataclasses
import threading
from collections.abc import Callable, Iterator

import boto3
import pytest
from clones import Clone, variables
from moto.server import ThreadedMotoServer

BUCKET = "spectra"
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",  # nobody outside is asked for better ones
}


@dataclasses.dataclass(frozen=True)
class Storage:
    """A remote: its URL, what `dvc remote modify` has to say of it, and what lies in it."""

    url: str
    options: dict[str, str]
    listed: Callable[[], list[str]]


@pytest.fixture(scope="session")
def s3() -> Iterator[Storage]:
    """A real S3 API on loopback, with an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name=KEYS["AWS_DEFAULT_REGION"],
    )
    client.create_bucket(Bucket=BUCKET)

    def listed() -> list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    yield Storage(f"s3://{BUCKET}/store", {"endpointurl": endpoint}, listed)
    stopping = threading.Thread(target=server.stop)  # it waits for connections that the clients keep open
    stopping.daemon = True
    stopping.start()
    stopping.join(5)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Storage:
    """A folder that everybody can write to."""
    root = tmp_path_factory.mktemp("shared") / "store"
    return Storage(str(root), {}, lambda: [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()])


def share(author: Clone, storage: Storage) -> Clone:
    """What docs/howto/share.md tells an author to do, and a registered version of one model."""
    author.environment.update(KEYS)
    author.run("dvc", "remote", "add", "-d", "storage", storage.url)
    for name, value in storage.options.items():
        author.run("dvc", "remote", "modify", "storage", name, value)
    author.run("git", "commit", "--quiet", "--all", "--message=remote")
    author.run("dvc", "push")
    author.run("gto", "register", "adam", "--version", "v1.0.0")
    return author


@pytest.fixture(scope="session")
def shared_by_s3(copy_of_finished, s3) -> Clone:
    """The repository of someone who has run the pipeline and pushed to S3."""
    return share(copy_of_finished("shared_by_s3"), s3)


@pytest.fixture(scope="session")
def shared_by_folder(copy_of_finished, folder) -> Clone:
    """The repository of someone who has run the pipeline and pushed to a shared folder."""
    return share(copy_of_finished("shared_by_folder"), folder)


@pytest.fixture
def another(tmp_path, nursery) -> Clone:
    """Another DVC repository, with nothing in it."""
    repository = Clone(tmp_path / "another", variables(nursery), nursery)
    repository.root.mkdir()
    repository.run("git", "init", "--quiet", "--initial-branch=main")
    repository.run("dvc", "init", "--quiet")
    repository.run("git", "commit", "--quiet", "--message=start")
    return repository
