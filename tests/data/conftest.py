"""A web site on the loopback that can misbehave."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest

VARIABLE = "TRANSFORMER_SPECTRUM_MIRROR"


@dataclass(frozen=True)
class Reply:
    body: bytes = b""
    status: int = 200
    missing: int = 0  # bytes that Content-Length announces and that never come
    stall: bool = False  # neither close nor go on after the body, until the site closes


@dataclass
class Site:
    """Each path answers with its replies in turn; the last one repeats. Unknown paths are 404."""

    url: str
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, *replies: dict) -> str:
        """Gives `path` its replies, each with the fields of Reply; returns its address."""
        self.replies[path] = [Reply(**reply) for reply in replies]
        return self.url + path

    def answer(self, path: str) -> Reply:
        self.requests.append(path)
        left = self.replies.get(path) or self.replies.get(path.partition("?")[0]) or [Reply(b"nothing here", 404)]
        return left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = site.answer(unquote(self.path))
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body) + reply.missing))
            self.end_headers()
            self.wfile.write(reply.body)
            if reply.stall:
                self.wfile.flush()
                site.stalled.set()
                site.closing.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        site = Site(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield site
        site.closing.set()
        server.shutdown()


@pytest.fixture
def closed_url() -> str:
    """An address where nobody listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(autouse=True)
def no_mirror_or_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine has set must not decide a test."""
    for name in (VARIABLE, "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
