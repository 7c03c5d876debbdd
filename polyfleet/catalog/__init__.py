"""What can be bought, what chips can do, which models there are.

Packaged tables with unit, source and date per row, and readers that lay the user's own file over them. No solving, no
speed.
"""
