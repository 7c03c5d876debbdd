"""`python -m polyfleet`."""

from polyfleet.cli.main import main

main()
