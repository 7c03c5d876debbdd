"""An endpoint brought up as a user does it: `up`, a request through the gate, `status`, `logs`, `down`."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request

import pytest
from launch_processes import bearing

from polyfleet.launch.local import home_hash
from polyfleet.launch.ports import free_port

KEY = "sk-of-the-host"
SPEC = """\
workloads:
  chat: {{model: openai/gpt-oss-120b, traffic: {{rate: 1/s, input: 100, output: 20}}}}
launch:
  endpoints:
    box: {{workload: chat, url: "{url}/inference/v1", key_file: key, model: big, usd_per_m_output: 2.0}}
"""


@pytest.fixture
def host():
    """Answers whoever has its key, and keeps what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, self.headers["authorization"], body["model"]))
            message = {"role": "assistant", "content": "All is well."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
            answer = json.dumps({"id": "a", "model": "big-1", "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_comes_up_serves_and_goes(tmp_path, host):
    url, asked = host
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POLYFLEET")}

    def polyfleet(*arguments):
        command = [sys.executable, "-m", "polyfleet", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr

    (tmp_path / "spec.yaml").write_text(SPEC.format(url=url))
    code, _, err = polyfleet("up", "spec.yaml", "--port", str(free_port()))
    assert code == 2
    assert "holds no key" in err
    assert not bearing(home_hash(tmp_path / ".polyfleet")), "nothing half-made"

    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    port = free_port()
    code, out, err = polyfleet("up", "spec.yaml", "--port", str(port))
    try:
        assert code == 0, err
        pf_key = re.search(r"pf-\S+", out)[0]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps({"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}).encode(),
            {"authorization": f"Bearer {pf_key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            told = json.load(answer)
        assert (told["model"], told["choices"][0]["message"]["content"]) == ("chat", "All is well.")
        assert asked == [("/inference/v1/chat/completions", f"Bearer {KEY}", "big")]
        _, out, _ = polyfleet("status", "--json")
        (row,) = json.loads(out)["replicas"]
        assert (row["id"], row["state"], row["url"], row["pid"]) == ("chat-box", "ready", url, 0)
        assert polyfleet("logs", "chat-box")[1].startswith(f"chat-box runs at {url}/inference/v1")
        kept = b"".join(file.read_bytes() for file in (tmp_path / ".polyfleet").rglob("*") if file.is_file())
        assert KEY.encode() not in kept
    finally:
        code, out, err = polyfleet("down")
    assert code == 0, err
    assert not bearing(home_hash(tmp_path / ".polyfleet"))
    assert not (tmp_path / ".polyfleet" / "endpoints.json").exists()
