"""Ports of this machine, taken by binding them."""

from __future__ import annotations

import errno
import socket

from polyfleet.errors import LaunchError

HOST = "127.0.0.1"


def reserve(option: int = socket.SO_REUSEPORT) -> socket.socket:
    """A socket bound to a free port, not listening. An engine that binds with the same option (SO_REUSEPORT, or
    SO_REUSEADDR) shares the port with it, and nobody else is given it while the socket lives."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, option, 1)
    held.bind((HOST, 0))
    return held


def free_port() -> int:
    """A port that was free a moment ago: for engines that cannot share one. A clash shows as a death at start, and the
    next start takes another."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as held:
        held.bind((HOST, 0))
        return int(held.getsockname()[1])


def require_free(port: int, host: str = HOST) -> None:
    """Raises LaunchError where something listens on a port, or it may not be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise LaunchError(f"port {port} is taken; choose another with --port") from None
            raise LaunchError(f"port {port} cannot be taken: {error.strerror}") from None
