"""What the commands do, as typed functions. `import polyfleet` offers the same names.

Every function takes paths or the values that another one gave, prints nothing, and raises the errors of
`polyfleet.errors`.
"""

from polyfleet.api.calibration import Calibration, calibrate
from polyfleet.api.load import Inputs, demand_of, find_model, load_inputs, load_spec
from polyfleet.api.lookup import json_schema, search_catalog
from polyfleet.api.planning import breakeven, compare, load_plan, make_plan, save_page, save_plan, why
from polyfleet.api.speeds import BuildSpeed, Load, RunnableBuild, builds_of, predict_table, speeds_of

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
