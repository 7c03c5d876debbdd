"""What all tests share."""

from hypothesis import settings

# Machines are shared: a slow moment is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
