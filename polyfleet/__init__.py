"""polyfleet: any model, any cloud, any chip, from one spec.

The public Python API: what the commands do, importable. Its names are those of `polyfleet.api`, loaded when one is
first used, so that `import polyfleet` costs nothing.

    >>> import polyfleet
    >>> plan = polyfleet.make_plan("fleet.yaml")  # doctest: +SKIP
    >>> plan.usd_per_month  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from polyfleet.api import *  # noqa: F403 - for type checkers: the names are loaded when asked for


def __getattr__(name: str) -> Any:
    if name == "__all__" or not name.startswith("_"):
        from importlib import import_module

        api = import_module("polyfleet.api")
        if name == "__all__" or name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'polyfleet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
