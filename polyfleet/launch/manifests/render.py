"""All files of a plan, by path."""

from __future__ import annotations

from polyfleet.launch.manifests.compose import compose_files
from polyfleet.launch.manifests.fleet import Planned
from polyfleet.launch.manifests.kubernetes import InCluster, kubernetes_files
from polyfleet.launch.manifests.sky_task import sky_files


def render(planned: Planned, chosen: InCluster) -> tuple[dict[str, str], tuple[str, ...]]:
    """Files by path below the output folder, in order; and what is left out, with why. Raises UnservableError."""
    tasks, not_rented = sky_files(planned, chosen.weights)
    files = {f"kubernetes/{path}": text for path, text in kubernetes_files(planned, chosen).items()}
    files |= {f"sky/{path}": text for path, text in tasks.items()}
    files |= {f"compose/{path}": text for path, text in compose_files(planned, chosen.weights).items()}
    return dict(sorted(files.items())), (*planned.left_out, *not_rented)
