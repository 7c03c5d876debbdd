"""A stand-in for an engine: answers health checks on a port, or dies or hangs as it is told."""

import argparse
import http.server
import signal
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--die", help="say this and exit 3")
parser.add_argument("--deaf", action="store_true", help="do not end when asked")
parser.add_argument("--child", action="store_true", help="leave a child that outlives this process")
asked = parser.parse_args()
if asked.die:
    sys.exit(asked.die)
if asked.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if asked.child:
    subprocess.Popen(["sleep", "600"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", asked.port), Handler).serve_forever()
