"""Servers that drip, flood, lie about lengths and redirect elsewhere: bounded time, size and memory, and one line."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
from hostile_server import head, hostile, sends, slowly

from transformer_spectrum.data.fetch import downloads, sources
from transformer_spectrum.data.fetch.downloads import Unreachable, download
from transformer_spectrum.runtime.errors import InputError

LARGEST = 2**22


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(downloads, "TOTAL_SECONDS", 20.0)
    monkeypatch.setattr(downloads, "LARGEST", LARGEST)


def complaint(answer, folder: Path, kind: type[Exception] = Unreachable) -> str:
    """What is said of it: one line of bounded length, within the time of an attempt; nothing is left."""
    began = time.monotonic()
    with hostile(answer) as url, pytest.raises(kind) as caught:
        download(url, folder / "file.csv")
    assert time.monotonic() - began < 20
    words = str(caught.value)
    assert "\n" not in words
    assert len(words) < 300
    assert list(folder.iterdir()) == []
    return words


@pytest.mark.parametrize(
    "answer",
    [
        slowly(head("Content-Length: 100000"), b"1", 0.02),
        slowly(head(), b"1", 0.02),
        slowly(b"HTTP/1.1 200 OK\r\nX: ", b"y", 0.02),
        slowly(b"H", b"", 0.02),
        slowly(head(status="100 Continue"), head(status="100 Continue"), 0.02),
    ],
    ids=["body", "body of no length", "header", "nothing", "continue"],
)
def test_a_server_that_drips_is_given_up_when_the_time_is_up(answer, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TOTAL_SECONDS", 1.0)
    assert complaint(answer, tmp_path) == "not the whole file within 1 s"


def test_an_endless_body_ends_at_the_largest_size(tmp_path):
    words = complaint(slowly(head(), bytes(2**20), 0), tmp_path, InputError)
    assert words.endswith("file.csv: has more than 4,194,304 bytes; is not the file that was asked for")


def test_an_announced_size_beyond_the_limit_is_refused_before_the_body(tmp_path):
    assert "has more than" in complaint(slowly(head("Content-Length: 1000000000000"), b"", 0.02), tmp_path, InputError)


def test_a_bomb_is_refused_in_memory_that_does_not_depend_on_it(tmp_path):
    bomb = gzip.compress(bytes(2**28))
    answer = sends(head("Content-Encoding: gzip", f"Content-Length: {len(bomb)}"), bomb)
    tracemalloc.start()
    try:
        assert "has more than" in complaint(answer, tmp_path, InputError)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_an_honest_compressed_body_is_decompressed(tmp_path):
    body = np.random.default_rng(0).bytes(300_000)
    packed = gzip.compress(body)
    with hostile(sends(head("Content-Encoding: gzip", f"Content-Length: {len(packed)}"), packed)) as url:
        download(url, tmp_path / "file.csv")
    assert (tmp_path / "file.csv").read_bytes() == body


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate", "x" * 5000])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding, tmp_path):
    words = complaint(sends(head(f"Content-Encoding: {encoding}"), b"x"), tmp_path)
    assert "asked for was gzip" in words


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(bytes(1000))[:-9]], ids=["none", "cut"])
def test_a_damaged_compressed_body_is_cut_short(body, tmp_path):
    answer = sends(head("Content-Encoding: gzip", f"Content-Length: {len(body)}"), body)
    assert complaint(answer, tmp_path, InputError).endswith("cut short")


@pytest.mark.parametrize("length", ["abc", "-5", "1e400", "9" * 5000, "5\r\nContent-Length: 7", "٣", ""])
def test_an_odd_length_never_escapes_as_something_else(length, tmp_path):
    field = f"Content-Length: {length}".encode()
    answer = sends(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\nvalue")
    with hostile(answer) as url:
        try:
            download(url, tmp_path / "file.csv")
        except (Unreachable, InputError) as error:
            assert "\n" not in str(error)
            assert not (tmp_path / "file.csv").exists()
        else:
            assert (tmp_path / "file.csv").read_bytes() == b"value"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/hostname", "a redirect to what is no http(s) URL"),
        ("ftp://127.0.0.1/x", "a redirect to what is no http(s) URL"),
        ("gopher://x", "a redirect to what is no http(s) URL"),
        ("http://[::1/x", "an answer that is no HTTP"),
        ("http://[1:2:3/x", "an answer that is no HTTP"),
        ("http://a..b.invalid/x", "an answer that is no HTTP"),
        ("http://" + "a" * 300 + "/x", "an answer that is no HTTP"),
        ("http://host:99999999/x", "an answer that is no HTTP"),
        ("/again", "more than 5 redirects"),
    ],
)
def test_a_redirect_elsewhere_is_followed_nowhere(target, words, tmp_path):
    # Closed, or a client that has not seen the end yet would ask once more on the same connection.
    answer = head(f"Location: {target}", "Content-Length: 0", "Connection: close", status="302 Found")
    assert complaint(sends(answer), tmp_path).startswith(words)


def test_a_redirect_from_a_secure_connection_to_an_open_one_is_refused():
    session = downloads._Session()
    with pytest.raises(downloads.requests.exceptions.InvalidSchema, match="from https to http"):
        session.rebuild_method(
            downloads.requests.Request("GET", "http://host/x").prepare(),
            SimpleNamespace(url="https://host/x", status_code=302),
        )


def test_a_redirect_to_another_host_is_followed(tmp_path):
    with hostile(sends(head("Content-Length: 5"), b"value")) as second:
        answer = sends(head(f"Location: {second}", "Content-Length: 0", status="301 Moved"))
        with hostile(answer) as first:
            download(first, tmp_path / "file.csv")
    assert (tmp_path / "file.csv").read_bytes() == b"value"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/9.9 abc\r\n\r\n",
        head(status="404 " + "no " * 10_000),
        head(*["X: y"] * 300),
        head("X: " + "y" * 100_000),
        head("Transfer-Encoding: chunked") + b"zz\r\n",
        head("Transfer-Encoding: chunked") + b"5\r\nval",
        head("Transfer-Encoding: chunked") + b"f" * 70_000,
        b"\0" * 1000,
        b"",
    ],
)
def test_what_is_no_answer_takes_one_line(answer, tmp_path):
    with hostile(sends(answer)) as url, pytest.raises((Unreachable, InputError)) as caught:
        download(url, tmp_path / "file.csv")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "answer", [b'"count"\n"' + b"9" * 5000 + b'"\n', b'"count"\n"-1"', "count\n٣".encode(), b"\xff"]
)
def test_a_row_count_that_is_none_is_shown_shortened(answer, tmp_path):
    with hostile(sends(head(f"Content-Length: {len(answer)}"), answer)) as url, pytest.raises(InputError) as caught:
        sources._count(url, "toy.csv", tmp_path / "count")
    assert "must be a number of rows" in str(caught.value)
    assert len(str(caught.value)) < 150


def test_a_row_count_without_end_is_not_read(tmp_path):
    with hostile(slowly(head(), b"1" * 2**16, 0)) as url, pytest.raises(InputError, match="has more than 65,536 bytes"):
        sources._count(url, "toy.csv", tmp_path / "count")


def test_a_mirror_folder_is_read_in_bounds_too(tmp_path):
    with (tmp_path / "large.csv").open("wb") as sparse:
        sparse.truncate(sources.LARGEST + 1)
    with pytest.raises(InputError, match="must have at most"):
        sources._get(str(tmp_path / "large.csv"), tmp_path / "out")
    with pytest.raises(Unreachable, match="no regular file"):
        sources._get("/dev/zero", tmp_path / "out")
