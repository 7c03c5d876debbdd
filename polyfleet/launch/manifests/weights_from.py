"""Where pods find a model's weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from polyfleet.errors import InputError

FOLDER = "/models"
_COPIER = "rclone/rclone:1.71"
_REMOTES = {"s3": ":s3,provider=AWS,env_auth=true:", "gs": ":gcs,env_auth=true:"}
_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class WeightsFrom:
    """`hub`: fetched by name at start. `pvc`: a claim, mounted at /models. `store`: a bucket copied to /models before
    the engine starts. `image`: a folder in the engine's own image. Below each the models lie as ORG/NAME."""

    kind: Literal["hub", "pvc", "store", "image"]
    at: str = ""

    @property
    def folder(self) -> str | None:
        """The folder below which the container finds the models; None: they are fetched by name."""
        return None if self.kind == "hub" else self.at if self.kind == "image" else FOLDER

    def volumes(self, model: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        """Volumes, the engine's mounts and init containers of a pod that loads a model."""
        mount = {"name": "models", "mountPath": FOLDER}
        if self.kind == "pvc":
            claim = {"claimName": self.at, "readOnly": True}
            return [{"name": "models", "persistentVolumeClaim": claim}], [{**mount, "readOnly": True}], []
        if self.kind == "store":
            return [{"name": "models", "emptyDir": {}}], [mount], [self._copier(model, mount)]
        if self.kind == "hub":
            return [{"name": "hub", "emptyDir": {}}], [{"name": "hub", "mountPath": "/root/.cache/huggingface"}], []
        return [], [], []

    def _copier(self, model: str, mount: dict[str, Any]) -> dict[str, Any]:
        scheme, _, path = self.at.partition("://")
        source = f"{_REMOTES[scheme]}{path.rstrip('/')}/{model}"
        return {
            "name": "weights", "image": _COPIER, "args": ["copy", source, f"{FOLDER}/{model}"],
            "volumeMounts": [mount],
        }  # fmt: skip


def parse_weights_from(text: str) -> WeightsFrom:
    """`hub`, `pvc:NAME`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `image:/FOLDER`. Raises InputError."""
    kind, _, rest = text.partition(":")
    if text == "hub":
        return WeightsFrom("hub")
    if kind == "pvc" and _CLAIM.fullmatch(rest):
        return WeightsFrom("pvc", rest)
    if kind in _REMOTES and re.fullmatch(r"//[^/\s]+(/\S*)?", rest):
        return WeightsFrom("store", text)
    if kind == "image" and re.fullmatch(r"/\S*[^/\s]", rest):
        return WeightsFrom("image", rest)
    raise InputError(
        "weights cannot come from there", value=text,
        hint="write hub, pvc:NAME, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or image:/FOLDER",
    )  # fmt: skip
