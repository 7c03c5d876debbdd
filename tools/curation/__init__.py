"""Turns the raw data folder into the catalog's packaged tables. Decisions that a person made stand in `decisions/`."""
