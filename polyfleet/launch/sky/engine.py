"""SkyPilot in a process of its own: `PYTHON engine.py`, in any Python that has SkyPilot.

It imports nothing of polyfleet, and SkyPilot late. On stdin comes one request a line, `{"id", "call", "with"}`; each
runs in a thread, and its answer is one line on stdout, `{"id", "ok"}` or `{"id", "error"}`. The first line out says
which SkyPilot this is, or why there is none. It ends where stdin does. Values of secrets come by environment, under
names that begin with SECRET, and are out of it before SkyPilot is imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SECRET = "POLYFLEET_SECRET_"
_SERVER_S = 120.0
"""The API server is waited for so long: SkyPilot's own patience is short on a busy machine."""
_GONE_S = 60.0
_LIVE = ("INIT", "PENDING", "SETTING_UP", "RUNNING")
_ASKED = ("launch", "exec")
_MOST_WORDS = 2000

_secrets: dict[str, str] = {}
_out_lock = threading.Lock()
_server_lock = threading.Lock()


def hello() -> dict[str, Any]:
    """Which SkyPilot this is; its API server is started where it is local and none runs."""
    import sky

    _require_server()
    return {"version": sky.__version__}


def check(clouds: list[str]) -> dict[str, Any]:
    """Which of these clouds can be used, as `sky check` finds out."""
    import sky
    from sky.client import sdk

    told = sky.get(sdk.check(infra_list=tuple(clouds), verbose=False))
    return {"enabled": sorted({str(cloud).lower() for found in told.values() for cloud in found})}


def price(resources: dict[str, Any]) -> dict[str, Any]:
    """Whether SkyPilot could rent these resources at all, and its price where it knows one; nothing is touched."""
    import sky

    task = sky.Task.from_yaml_config({"name": "price", "run": "true", "resources": resources})
    with sky.Dag() as dag:
        dag.add(task)
    sky.get(sky.optimize(dag))
    (asked,) = task.resources
    return {"usd_per_hour": _usd_per_hour(asked), "machine": str(asked)}


def status(pattern: str, force: bool) -> list[dict[str, Any]]:
    """The clusters whose name fits, as the cloud has them where `force`."""
    import sky

    mode = sky.StatusRefreshMode.FORCE if force else sky.StatusRefreshMode.NONE
    return [
        {
            "name": found.name, "status": found.status.value, "hash": found.cluster_hash,
            "launched_at": found.launched_at, "labels": found.labels or {}, "told": found.init_status_reason or "",
            "head": getattr(found.handle, "head_ip", None) or "",
        }
        for found in sky.get(sky.status([pattern], refresh=mode))
    ]  # fmt: skip


def queue(cluster: str) -> list[dict[str, Any]]:
    """All jobs of a cluster, ended ones too."""
    import sky

    return [
        {"id": job.job_id, "name": job.job_name, "status": job.status.value, "live": job.status.value in _LIVE}
        for job in sky.get(sky.queue(cluster))
    ]


def requests(pattern: str) -> list[dict[str, str]]:
    """Launches of these clusters that the API server has under way, whoever asked for them."""
    from sky.client import sdk

    found = sdk.api_status(fields=["request_id", "name", "cluster_name", "status"])
    return [
        {"id": each.request_id, "cluster": each.cluster_name}
        for each in found
        if (each.cluster_name or "").startswith(pattern) and any(word in each.name for word in _ASKED)
    ]


def wait(request: str) -> None:
    """Return once a request of the API server has ended, however it did."""
    import sky

    with contextlib.suppress(Exception):  # what it came to is read from the cluster
        sky.get(request)


def launch(cluster: str, task: dict[str, Any], resources: dict[str, Any], secrets: list[str]) -> dict[str, Any]:
    """Have a cluster of this name, made where there is none, and a job on it where the task runs something."""
    import sky

    made = sky.Task.from_yaml_config({**task, "resources": resources})
    made.update_secrets([(name, _secrets[name]) for name in secrets if name in _secrets])
    said = io.StringIO()  # the cloud's own words are in what SkyPilot prints, and in no exception of it
    try:
        job, handle = sky.stream_and_get(sky.launch(made, cluster_name=cluster), output_stream=said)
    except BaseException as error:  # SkyPilot ends some requests by SystemExit(1)
        error.said = said.getvalue()  # type: ignore[attr-defined]  # ours: read by _error
        raise
    launched = handle.launched_resources
    return {"job": job, "usd_per_hour": _usd_per_hour(launched), "machine": str(launched)}


def endpoint(cluster: str, port: int) -> str:
    """`HOST:PORT` under which a port is reached."""
    import sky

    found = sky.get(sky.endpoints(cluster, port))
    return str(found.get(port) or found.get(str(port)) or "")


def cancel(cluster: str, job: int) -> None:
    import sky

    sky.get(sky.cancel(cluster, job_ids=[job]))


def down(cluster: str) -> None:
    """Take a cluster down. Returns once the cloud, asked itself, has nothing of it; nothing where there is none.

    SkyPilot drops a cluster from its books once it has asked the cloud to end it. A launch that was killed at the wrong
    moment may have its machine come up after that, and nobody would know of it.
    """
    import sky
    from sky import exceptions

    left, end = _cloud_of(cluster)
    with contextlib.suppress(exceptions.ClusterDoesNotExist):
        sky.get(sky.down(cluster))
    until = time.monotonic() + _GONE_S
    while there := left():
        if time.monotonic() >= until:
            raise RuntimeError(f"the cloud still has {', '.join(there)} of {cluster}")
        end()
        time.sleep(1.0)


def logs(cluster: str, job: int, last: int) -> list[str]:
    """Lines of a job, the `last` ones (0: all)."""
    import sky

    out = io.StringIO()
    sky.tail_logs(cluster, job, follow=False, tail=last, output_stream=out)
    lines = out.getvalue().splitlines()
    return list(deque(lines, last)) if last else lines


CALLS = {
    made.__name__: made
    for made in (hello, check, price, status, queue, requests, wait, launch, endpoint, cancel, down, logs)
}


def _cloud_of(cluster: str) -> tuple[Callable[[], list[str]], Callable[[], None]]:
    """What tells which machines of a cluster its cloud has, and what ends them, beside SkyPilot's books. Only where the
    API server is of this machine: another's credentials are not here."""
    import sky
    from sky import global_user_state, provision

    try:
        (found,) = sky.get(sky.status([cluster]))
        name, cloud = found.handle.cluster_name_on_cloud, repr(found.handle.launched_resources.cloud)
        config = global_user_state.get_cluster_yaml_dict(found.handle.cluster_yaml)["provider"]
    except Exception as error:  # no such cluster, none of its machines asked for yet, or another machine's server
        print(f"{cluster}: its cloud is not asked: {error!r}")
        return list, lambda: None
    return (
        lambda: sorted(provision.query_instances(cloud, cluster, name, config)),
        lambda: provision.terminate_instances(cloud, name, config),
    )


def _require_server() -> None:
    """Raises what SkyPilot's client raises where there is none and none comes up."""
    from sky.client import sdk

    with _server_lock:
        until = time.monotonic() + _SERVER_S
        while True:
            try:
                sdk.api_info()
                return
            except Exception:  # a refused connection, half an answer: each version says it in its own way
                if time.monotonic() >= until:
                    raise
            with contextlib.suppress(Exception):  # it says that it failed although the server still comes up
                sdk.api_start()
            time.sleep(1.0)


def _usd_per_hour(resources: Any) -> float | None:
    try:
        return float(resources.get_cost(3600))
    except Exception:  # no price is known: that is no reason to fail
        return None


def _error(error: BaseException) -> dict[str, Any]:
    history = getattr(error, "failover_history", None) or ()
    return {
        "kind": "NetworkError" if _is_elsewhere(str(error)) else type(error).__name__,
        "message": _plain(str(error))[:_MOST_WORDS],
        "history": [{"kind": type(each).__name__, "message": _plain(str(each))[:_MOST_WORDS]} for each in history],
        "said": _plain(getattr(error, "said", ""))[-_MOST_WORDS:],
    }


def _is_elsewhere(words: str) -> bool:
    """Whether a connection failed to another host than the API server: SkyPilot fetches some clouds' lists itself."""
    host = re.search(r"host='([^']+)'", words)
    if host is None:
        return False
    from sky.server import common

    return host[1] not in common.get_server_url()


def _plain(text: str) -> str:
    """Without colours and what else is meant for a terminal."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|<sky-payload>.*?</sky-payload>\n?", "", text)


def _answer(asked: dict[str, Any], say: Any) -> None:
    try:
        answer: dict[str, Any] = {"ok": CALLS[asked["call"]](**asked["with"])}
    except BaseException as error:
        answer = {"error": _error(error)}
    say({"id": asked["id"], **answer})


def main() -> None:
    """Serve until stdin ends. stdout is for answers alone: what SkyPilot prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    for name in [name for name in os.environ if name.startswith(SECRET)]:
        _secrets[name.removeprefix(SECRET)] = os.environ.pop(name)
    os.environ["SKYPILOT_DISABLE_USAGE_COLLECTION"] = "1"

    def say(answer: dict[str, Any]) -> None:
        with _out_lock:
            out.write(json.dumps(answer) + "\n")
            out.flush()

    try:
        import sky
    except ImportError as error:
        say({"error": _error(error)})
        return
    say({"ok": sky.__version__})
    pool = ThreadPoolExecutor(64)
    for line in sys.stdin:
        pool.submit(_answer, json.loads(line), say)
    os._exit(0)  # whoever asked is gone: what is under way goes on in the API server


if __name__ == "__main__":
    main()
