"""Doors on both databases, and gate workers as processes of their own.

PostgreSQL is a private server: started on first use, reached by a socket file, gone afterwards.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from polyfleet.database import open_database

_SERVER_USERS = ("postgres", "nobody")


@pytest.fixture(scope="session")
def postgres_server():
    """The folder of the socket of a running server."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    binary = folders[-1] if folders else Path(shutil.which("initdb") or "/none/initdb").parent
    if not (binary / "initdb").exists():
        pytest.skip("PostgreSQL is not installed here (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pf-pg-"))
    as_user = _give_to_server_user(folder)
    data = folder / "data"
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    make = [binary / "initdb", "-D", data, "-A", "trust", "-U", "polyfleet", "-E", "UTF8", "--no-locale", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, env=env, cwd=folder, **as_user)
    run = [binary / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(run, env=env, cwd=folder, stdout=log, stderr=log, **as_user)
    try:
        _wait_until_it_answers(folder, server)
        yield folder
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database of its own."""
    import psycopg

    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(f"host={postgres_server} user=polyfleet dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://polyfleet@/{name}?host={postgres_server}"


def _give_to_server_user(folder):
    """The server refuses to run as root: then it is run as another user, who must own its folder."""
    if os.geteuid() != 0:
        return {}
    import pwd

    users = {user.pw_name: user for user in pwd.getpwall()}
    user = next((users[name] for name in _SERVER_USERS if name in users), None)
    if user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no other user here")
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _wait_until_it_answers(folder, server):
    import psycopg

    for _ in range(600):
        assert server.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(f"host={folder} user=polyfleet dbname=postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)  # the server tells nobody that it is ready; it is asked
    raise AssertionError("PostgreSQL did not start")


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request, tmp_path):
    """The address of an empty state, in each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def engine(state_url):
    made = open_database(state_url)
    yield made
    made.dispose()


@pytest.fixture
def racers(state_url):
    """Start gate workers as processes; each prints one JSON line when it is done. All are gone afterwards."""
    running = []

    def start(count: int, **ask):
        for number in range(count):
            script = [sys.executable, str(Path(__file__).with_name("racer.py"))]
            process = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            process.stdin.write(json.dumps({"url": state_url, "seed": number, **ask}) + "\n")
            process.stdin.flush()
            running.append(process)
        for process in running:
            assert process.stdout.readline() == "ready\n"
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        return running

    yield start
    for process in running:
        process.kill()
        process.communicate()
