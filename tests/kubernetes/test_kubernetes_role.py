"""The Role that the documents give is the one that the proofs run with."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from polyfleet.launch.kubernetes.objects import SHARED, WORKLOADS

ROOT = Path(__file__).parents[2]
ROLE = yaml.safe_load((ROOT / "rigs" / "kubernetes" / "role.yaml").read_text())


def test_the_role_in_the_documents_is_the_one_that_is_proven() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "clouds.md").read_text(), re.DOTALL)
    roles = [found for text in shown if "kind: Role\n" in text and (found := yaml.safe_load(text))]
    assert [role["rules"] for role in roles] == [ROLE["rules"]]


def test_the_role_covers_each_kind_that_is_applied_and_no_other_group() -> None:
    allowed = {(group, what) for rule in ROLE["rules"] for group in rule["apiGroups"] for what in rule["resources"]}
    kinds = {(version.rpartition("/")[0], f"{kind.lower()}s") for kind, version in (WORKLOADS | SHARED).items()}
    assert allowed == kinds | {("", "configmaps"), ("", "pods"), ("", "pods/log")}
    assert all("*" not in {*rule["verbs"], *rule["resources"]} for rule in ROLE["rules"])
