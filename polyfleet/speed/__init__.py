"""How fast a build runs: physics, calibration on measurements, error bands. No prices, no traffic files."""

from polyfleet.speed.model import SpeedModel, load_speed_model
from polyfleet.speed.table import predict_rows, read_user_rows
from polyfleet.speed.user import CalibratedRow

__all__ = ["CalibratedRow", "SpeedModel", "load_speed_model", "predict_rows", "read_user_rows"]
