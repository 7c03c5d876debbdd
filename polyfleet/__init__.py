"""polyfleet: any model, any cloud, any chip, from one spec."""

__version__ = "0.1.0"
