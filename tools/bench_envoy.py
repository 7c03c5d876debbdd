"""Envoy's configuration for the bench: bare, and with what a gateway in front of engines would switch on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_TYPES = "type.googleapis.com/envoy.extensions"


def envoy_config(upstream_port: int, port: int, key: str | None, folder: Path) -> dict[str, Any]:
    """Bare where `key` is None. Else: API keys, local rate limit, retries with a budget, active health checks, outlier
    ejection, request ids and a JSON access log."""
    full = key is not None
    return {
        "static_resources": {
            "listeners": [_listener(port, key, folder)],
            "clusters": [_cluster(upstream_port, full)],
        }
    }


def _listener(port: int, key: str | None, folder: Path) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gate",
        "generate_request_id": key is not None,
        "http_filters": [*(_filters(key) if key else []), _filter("router", "router.v3.Router", {})],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route(key is not None)]}]},
    }
    if key:
        manager["access_log"] = [_access_log(folder)]
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"address": _address(port), "filter_chains": [chain]}


def _route(full: bool) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": "engine", "timeout": "0s"}
    if full:
        action["retry_policy"] = {"retry_on": "connect-failure,reset,5xx", "num_retries": 2}
    return {"match": {"prefix": "/"}, "route": action}


def _filters(key: str) -> list[dict[str, Any]]:
    keys = {
        "credentials": [{"key": key, "client": "bench"}],
        "key_sources": [{"header": "Authorization"}],
    }
    bucket = {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "60s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}, "runtime_key": "on"}
    limit = {"stat_prefix": "limit", "token_bucket": bucket, "filter_enabled": always, "filter_enforced": always}
    return [
        _filter("api_key_auth", "api_key_auth.v3.ApiKeyAuth", keys),
        _filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", limit),
    ]


def _filter(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    typed = {"@type": f"{_TYPES}.filters.http.{kind}", **config}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def _access_log(folder: Path) -> dict[str, Any]:
    fields = {
        "time": "%START_TIME%",
        "request": "%REQ(X-REQUEST-ID)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "bytes": "%BYTES_SENT%",
        "ms": "%DURATION%",
        "upstream": "%UPSTREAM_HOST%",
    }
    typed = {
        "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
        "path": str(folder / "envoy-access.log"),
        "log_format": {"json_format": fields},
    }
    return {"name": "envoy.access_loggers.file", "typed_config": typed}


def _cluster(port: int, full: bool) -> dict[str, Any]:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
    cluster: dict[str, Any] = {
        "name": "engine",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "engine", "endpoints": [endpoint]},
    }
    if full:
        check = {"timeout": "1s", "interval": "1s", "unhealthy_threshold": 3, "healthy_threshold": 1}
        cluster["health_checks"] = [{**check, "http_health_check": {"path": "/health"}}]
        cluster["outlier_detection"] = {"consecutive_5xx": 5}
        budget = {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3}
        cluster["circuit_breakers"] = {"thresholds": [{"retry_budget": budget}]}
    return cluster


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def write_envoy_config(file: Path, upstream_port: int, port: int, key: str | None) -> Path:
    file.write_text(json.dumps(envoy_config(upstream_port, port, key, file.parent)))
    return file
