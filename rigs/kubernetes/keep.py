"""The keeper of a home whose replicas run on the rig and whose gate runs here.

python rigs/kubernetes/keep.py HOME KUBECONFIG
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import fleet

from polyfleet.launch.driver import Driver
from polyfleet.launch.home import Home, held
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.kubernetes.cluster import connect
from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.launch.local import LocalDriver, home_hash
from polyfleet.launch.places import Places
from polyfleet.settings import Settings
from polyfleet.terms.fleet import HERE


def places(home: Home, kubeconfig: Path, contexts: tuple[str, ...]) -> Places:
    """A driver for the gate on this machine, and one for each context."""

    def make(place: str) -> Driver:
        if place == HERE:
            return LocalDriver(home.folder)
        return KubernetesDriver(connect(place, kubeconfig=kubeconfig), home_hash(home.folder), fleet.objects)

    return Places(make, (HERE, *contexts))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    folder, kubeconfig, *contexts = sys.argv[1:]
    home = Home.of(Settings(Path(folder)))
    with held(home) as is_mine:
        if is_mine is None:
            sys.exit("another keeper holds the home")
        driver = places(home, Path(kubeconfig), tuple(contexts))
        keeper = Keeper(home.state(), driver, home.routes_file, pid=os.getpid())
        keeper.run(ended, is_mine)
        keeper.close()


if __name__ == "__main__":
    main()
