"""A plan as files for others to apply: Kubernetes YAML, SkyPilot tasks, Compose files.

Text only: nothing is started and nobody is asked. The same plan and options give the same bytes. No secret is ever
written, only the name of the variable or secret that holds it.
"""

from polyfleet.launch.manifests.fleet import Choice, Planned, plan_fleet
from polyfleet.launch.manifests.folder import write_folder
from polyfleet.launch.manifests.render import render

__all__ = ["Choice", "Planned", "plan_fleet", "render", "write_folder"]
