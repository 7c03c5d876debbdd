"""What to rent: variables, one function per limit, solve, explain. The solver stands behind one file."""

from polyfleet.plan.breakeven import Curve, breakeven
from polyfleet.plan.check import check_plan
from polyfleet.plan.compare import Alternative, compare
from polyfleet.plan.make import make_plan
from polyfleet.plan.why import Reasons, why

__all__ = ["Alternative", "Curve", "Reasons", "breakeven", "check_plan", "compare", "make_plan", "why"]
