"""polyfleet: any model, any cloud, any chip, from one spec.

The public Python API: what the commands do, importable. Everything named in `__all__` lives in `polyfleet.api` and is
loaded when it is first used, so that `import polyfleet` costs nothing.

    >>> import polyfleet
    >>> plan = polyfleet.make_plan("fleet.yaml")  # doctest: +SKIP
    >>> plan.usd_per_month  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from polyfleet.api import (
        BuildSpeed,
        Calibration,
        Inputs,
        Load,
        RunnableBuild,
        breakeven,
        builds_of,
        calibrate,
        compare,
        demand_of,
        find_model,
        json_schema,
        load_inputs,
        load_plan,
        load_spec,
        make_plan,
        predict_table,
        save_page,
        save_plan,
        search_catalog,
        speeds_of,
        why,
    )

__all__ = [
    "BuildSpeed",
    "Calibration",
    "Inputs",
    "Load",
    "RunnableBuild",
    "breakeven",
    "builds_of",
    "calibrate",
    "compare",
    "demand_of",
    "find_model",
    "json_schema",
    "load_inputs",
    "load_plan",
    "load_spec",
    "make_plan",
    "predict_table",
    "save_page",
    "save_plan",
    "search_catalog",
    "speeds_of",
    "why",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("polyfleet.api"), name)
    raise AttributeError(f"module 'polyfleet' has no attribute {name!r}")
