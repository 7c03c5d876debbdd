"""A price server on loopback: what each address answers, in order; the last answer repeats."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parent / "samples"


@dataclass
class Reply:
    """`said_length` None = the true one, 0 = none told. `chunked` sends the body in HTTP chunks."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    said_length: int | None = None
    chunked: bool = False


class PriceServer:
    """Pages by path (with query) or by path alone."""

    def __init__(self) -> None:
        self.pages: dict[str, list[Reply]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._served: dict[str, int] = defaultdict(int)
        pages, asked, served = self.pages, self.asked, self._served

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked.append((self.path, dict(self.headers)))
                key = self.path if self.path in pages else self.path.partition("?")[0]
                replies = pages.get(key, [Reply(status=404)])
                reply = replies[min(served[key], len(replies) - 1)]
                served[key] += 1
                self.close_connection = True
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Connection", "close")
                if reply.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                elif reply.said_length != 0:
                    length = len(reply.body) if reply.said_length is None else reply.said_length
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                if reply.chunked:
                    self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(reply.body), reply.body))
                else:
                    self.wfile.write(reply.body)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def prices():
    """A price server; fill its `pages` with `Reply`s."""
    server = PriceServer()
    yield server
    server.close()


@pytest.fixture
def reply():
    return Reply


@pytest.fixture
def sample():
    """The bytes of a true excerpt."""
    return lambda name: (SAMPLES / name).read_bytes()
