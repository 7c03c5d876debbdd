"""A replica as a pod."""

from __future__ import annotations

from typing import Any

from polyfleet.catalog.images import Cluster
from polyfleet.launch.manifests.fleet import PlannedLine
from polyfleet.launch.manifests.weights_from import WeightsFrom
from polyfleet.launch.recipes import LaunchRecipe
from polyfleet.launch.recipes.docker import SECRETS

Document = dict[str, Any]
_PROBE_PERIOD_S = 10
_LEAST_START_S = 1800
_GRACE_S = 300
NODE_FLAGS = ("--nnodes", "{nodes}", "--node-rank", "$(LWS_WORKER_INDEX)", "--master-addr", "$(LWS_LEADER_ADDRESS)")


def pod_spec(
    planned: PlannedLine, cluster: Cluster, weights: WeightsFrom, secret: str, workload_label: str
) -> Document:
    """The spec of one replica's pod (of the leader's, where it spans nodes)."""
    recipe = planned.recipe
    volumes, mounts, init = weights.volumes(planned.loads)
    spec: Document = {
        "nodeSelector": _selector(planned, recipe, cluster),
        "tolerations": _tolerations(planned, recipe, cluster),
        "topologySpreadConstraints": [_spread(key, workload_label) for key in _SPREAD_OVER],
        "terminationGracePeriodSeconds": _GRACE_S,
        "initContainers": [{**c, **_secret_environment(secret)} for c in init],
        "containers": [_container(recipe, mounts, secret)],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{recipe.shm_gib}Gi"}}, *volumes],
    }
    return {key: value for key, value in spec.items() if value}


def worker_spec(leader: Document) -> Document:
    """The pods beside the leader of a replica that spans nodes: the same without a server of their own."""
    (container,) = leader["containers"]
    silent = {k: v for k, v in container.items() if not k.endswith("Probe") and k != "ports"}
    return {**leader, "containers": [{**silent, "args": [*container["args"], "--headless"]}]}


def _container(recipe: LaunchRecipe, mounts: list[Document], secret: str) -> Document:
    program, *arguments = recipe.command
    if recipe.nodes > 1:
        arguments += [part.replace("{nodes}", str(recipe.nodes)) for part in NODE_FLAGS]
    environment = [{"name": name, "value": value} for name, value in recipe.environment.items()]
    made: Document = {
        "name": "engine",
        "image": recipe.image,
        "command": [program],
        "args": arguments,
        "env": [*environment, *(_secret(secret, name) for name in SECRETS)],
        "ports": [{"name": "http", "containerPort": recipe.port, "protocol": "TCP"}],
        "resources": {"requests": dict(recipe.resources), "limits": dict(recipe.resources)},
        "securityContext": _security(recipe),
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, *mounts],
        **_probes(recipe),
    }
    return {key: value for key, value in made.items() if value}


def _probes(recipe: LaunchRecipe) -> Document:
    """Starting may take twice the published cold start, half an hour at least; then three misses take it out of the
    service, six restart it."""
    ask = {"httpGet": {"path": recipe.health, "port": "http"}, "periodSeconds": _PROBE_PERIOD_S, "timeoutSeconds": 5}
    start_s = max(_LEAST_START_S, 2 * (recipe.cold_start_s or 0))
    return {
        "startupProbe": {**ask, "failureThreshold": start_s // _PROBE_PERIOD_S},
        "readinessProbe": {**ask, "failureThreshold": 3},
        "livenessProbe": {**ask, "failureThreshold": 6},
    }


def _security(recipe: LaunchRecipe) -> Document:
    """A device plugin hands the chips over, so a pod is never privileged."""
    made: Document = {"capabilities": {"add": list(recipe.capabilities)}} if recipe.capabilities else {}
    if "seccomp=unconfined" in recipe.security:
        made["seccompProfile"] = {"type": "Unconfined"}
    return made


def _selector(planned: PlannedLine, recipe: LaunchRecipe, cluster: Cluster) -> dict[str, str]:
    selector = {cluster.type_label: planned.rental.instance_type} if cluster.type_label else {}
    if planned.line.purchase == "spot" and cluster.spot_label:
        key, value = cluster.spot_label.split("=", 1)
        selector[key] = value
    return {**selector, **recipe.selector}


def _tolerations(planned: PlannedLine, recipe: LaunchRecipe, cluster: Cluster) -> list[Document]:
    """Nodes with chips, and spot nodes, are commonly tainted with the key of their resource or label."""
    keys = [key for key in recipe.resources if "/" in key]
    if planned.line.purchase == "spot" and cluster.spot_label:
        keys.append(cluster.spot_label.split("=", 1)[0])
    return [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys]


_SPREAD_OVER = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def _spread(key: str, workload_label: str) -> Document:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"polyfleet/workload": workload_label}},
    }


def _secret(secret: str, name: str) -> Document:
    """By name alone; one that is not there is left unset."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name, "optional": True}}}


def _secret_environment(secret: str) -> Document:
    return {"envFrom": [{"secretRef": {"name": secret, "optional": True}}]}
