"""What goes over the wire to an API server, and what its answers become. Needs the extra `kubernetes`."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest
from kubernetes_toys import group, objects, replica_spec

from polyfleet.errors import LaunchError
from polyfleet.launch.kubernetes import client
from polyfleet.launch.kubernetes.cluster import LightkubeCluster
from polyfleet.launch.kubernetes.objects import marked
from polyfleet.launch.kubernetes.refusals import AwayError, GoneError, NoKindError, Place

lightkube = pytest.importorskip("lightkube")
httpx2 = pytest.importorskip("httpx2")

SPEC = replica_spec()
BODY_OF_GROUP = marked(group("chat-0", 2), SPEC, "fleet-a", "models")
BODY = marked(objects(SPEC)[0], SPEC, "fleet-a", "models")


def config_of(server: str) -> lightkube.KubeConfig:
    return lightkube.KubeConfig.from_dict({
        "current-context": "east",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "ann", "user": {"token": "word"}}],
        "contexts": [{"name": "east", "context": {"cluster": "c", "user": "ann", "namespace": "models"}}],
    })  # fmt: skip


def cluster_that(answer: Callable[[httpx2.Request], httpx2.Response]) -> LightkubeCluster:
    config = config_of("http://api.invalid")
    transport = httpx2.MockTransport(answer)
    client = lightkube.Client(config, namespace="models", field_manager="polyfleet", transport=transport)
    return LightkubeCluster(client, Place("east", "models"))


def status(code: int, reason: str, message: str = "") -> httpx2.Response:
    return httpx2.Response(code, json={"kind": "Status", "code": code, "reason": reason, "message": message})


def test_apply_is_a_server_side_apply_under_our_name_and_a_dry_run_says_so() -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json=json.loads(request.content))

    cluster = cluster_that(answer)
    made = cluster.apply(BODY)
    cluster.apply(BODY, dry_run=True)
    first, second = asked
    assert (first.method, first.url.path) == ("PATCH", "/apis/apps/v1/namespaces/models/deployments/chat-0")
    assert first.headers["content-type"] == "application/apply-patch+yaml"
    assert first.url.params["fieldManager"] == "polyfleet"
    assert first.url.params.get("force", "false").lower() == "false", "what another changes is not taken from him"
    assert "dryRun" not in first.url.params
    assert second.url.params["dryRun"] == "All"
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.invalid/engine:1"
    assert made["metadata"]["labels"] == BODY["metadata"]["labels"]


def test_objects_are_listed_by_label_and_watched_from_the_version_that_was_read() -> None:
    asked: list[httpx2.Request] = []
    pod = {"metadata": {"name": "a", "resourceVersion": "8"}, "spec": {"containers": []}}

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        if "watch" not in request.url.params:
            return httpx2.Response(200, json={"metadata": {"resourceVersion": "7"}, "items": [pod]})
        if len(asked) > 2:
            return status(410, "Expired", "too old resource version")
        return httpx2.Response(200, text=json.dumps({"type": "MODIFIED", "object": pod}) + "\n")

    cluster = cluster_that(answer)
    found, version = cluster.list("Pod", {"polyfleet/fleet": "fleet-a"})
    assert ([one["metadata"]["name"] for one in found], version) == (["a"], "7")
    events = cluster.watch("Pod", {"polyfleet/fleet": "fleet-a"}, version, 30)
    event, seen = next(events)
    assert (event, seen["metadata"]["resourceVersion"]) == ("MODIFIED", "8")
    with pytest.raises(GoneError):
        next(events)
    assert [request.url.params.get("resourceVersion") for request in asked] == [None, "7", "8"]
    assert {request.url.params["labelSelector"] for request in asked} == {"polyfleet/fleet=fleet-a"}


def test_what_is_there_already_or_gone_already_is_no_error() -> None:
    there = cluster_that(lambda _: status(409, "AlreadyExists"))
    assert not there.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "polyfleet"}})
    gone = cluster_that(lambda _: status(404, "NotFound", 'pods "a" not found'))
    gone.delete("Pod", "a", grace_s=3)
    assert gone.get("Pod", "a") is None


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (
            lambda _: status(403, "Forbidden", "User ann cannot patch"),
            LaunchError,
            "no right to apply Deployment chat-0",
        ),
        (lambda _: status(500, "InternalError", "etcd"), AwayError, "answers 500"),
        (lambda _: httpx2.Response(502, text="<html>Bad gateway</html>"), AwayError, "answers 502"),
    ],
)
def test_a_refusal_becomes_one_of_our_errors(
    answer: Callable[[httpx2.Request], httpx2.Response], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told) as refused:
        cluster_that(answer).apply(BODY)
    assert str(refused.value).startswith("kubernetes east/models: ")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda _: httpx2.Response(200, text="<html>Log in first</html>"), "could not list Pods: "),
        (lambda _: httpx2.Response(403, content=b""), "no right to list Pods"),
        (lambda _: httpx2.Response(200, json={"items": 7}), "could not list Pods: "),
    ],
)
def test_what_is_no_answer_of_an_api_server_is_told_in_one_line(
    answer: Callable[[httpx2.Request], httpx2.Response], told: str
) -> None:
    with pytest.raises(LaunchError, match=told) as refused:
        cluster_that(answer).list("Pod", {})
    assert "\n" not in str(refused.value)


def test_a_group_that_the_api_server_does_not_know_is_no_kind_of_it() -> None:
    """It answers so without a Status; for a kind of a group that it knows, with one."""
    for answer in (
        httpx2.Response(404, text="404 page not found\n"),
        status(404, "NotFound", "the server could not find the requested resource"),
    ):
        with pytest.raises(NoKindError):
            cluster_that(lambda _, found=answer: found).list("LeaderWorkerSet", {})


def test_objects_of_a_kind_that_the_client_does_not_know_are_applied_and_read_all_the_same() -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        if request.method == "GET":
            return httpx2.Response(200, json={"metadata": {"resourceVersion": "7"}, "items": [BODY_OF_GROUP]})
        return httpx2.Response(200, json=json.loads(request.content) | {"status": {"replicas": 1}})

    cluster = cluster_that(answer)
    made = cluster.apply(BODY_OF_GROUP)
    (found,), version = cluster.list("LeaderWorkerSet", {"polyfleet/fleet": "fleet-a"})
    path = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/models/leaderworkersets"
    assert [(request.method, request.url.path) for request in asked] == [("PATCH", f"{path}/chat-0"), ("GET", path)]
    assert json.loads(asked[0].content) == BODY_OF_GROUP
    assert (made["status"], found["spec"], version) == ({"replicas": 1}, BODY_OF_GROUP["spec"], "7")


def test_a_watch_whose_connection_is_dropped_without_a_word_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_SILENT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = config_of(f"http://127.0.0.1:{silent.getsockname()[1]}")
        made = lightkube.Client(config, namespace="models", trust_env=False)
        client.bound_silence(made, 0.2)
        begun = time.monotonic()
        with pytest.raises(AwayError, match="the API server is away, could not watch Pods"):
            next(LightkubeCluster(made, Place("east", "models")).watch("Pod", {}, "7", 1))
        assert 0.4 < time.monotonic() - begun < 5
        made.close()


def test_a_login_program_that_is_not_installed_is_named() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise FileNotFoundError(2, "No such file or directory", "cloud-login")

    with pytest.raises(LaunchError, match="the program cloud-login that logs in is not installed"):
        cluster_that(answer).list("Pod", {})


def test_a_connection_that_fails_is_an_api_server_that_is_away() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    with pytest.raises(AwayError, match="the API server is away, could not list Pods: connection refused"):
        cluster_that(answer).list("Pod", {})
