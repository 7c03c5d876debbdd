"""Nodes of the rig: each carries what its chip's device plugin would announce.

Names of resources and labels: those that the vendors' device plugins and feature discovery use (NVIDIA's GPU operator,
AMD's device plugin, AWS Neuron's, GKE's TPU node pools, Intel's Gaudi plugin).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Node:
    name: str
    resource: str | None = None
    count: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def allocatable(self) -> dict[str, str]:
        plain = {"cpu": "192", "memory": "2000Gi", "pods": "110", "ephemeral-storage": "4000Gi"}
        return plain | ({self.resource: str(self.count)} if self.resource else {})

    @property
    def taints(self) -> list[dict[str, str]]:
        return [{"key": self.resource, "value": "present", "effect": "NoSchedule"}] if self.resource else []


_TYPE = "node.kubernetes.io/instance-type"
_H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", _TYPE: "p5.48xlarge"}
NODES = (
    Node("cpu-a"),
    Node("cpu-b"),
    Node("h100-a", "nvidia.com/gpu", 8, _H100),
    Node("h100-b", "nvidia.com/gpu", 8, _H100),
    Node(
        "mi300x", "amd.com/gpu", 8,
        {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", _TYPE: "Standard_ND96isr_MI300X_v5"},
    ),
    Node("trn2", "aws.amazon.com/neuron", 16, {_TYPE: "trn2.48xlarge"}),
    Node(
        "v6e", "google.com/tpu", 8,
        {"cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice", "cloud.google.com/gke-tpu-topology": "2x4"},
    ),
    Node("gaudi3", "habana.ai/gaudi", 8),
)  # fmt: skip
