"""`python -m polyfleet.launch`: the keeper."""

from polyfleet.launch.control import main

main()
