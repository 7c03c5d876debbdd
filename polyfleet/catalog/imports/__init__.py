"""Price lists as their makers publish them, read into the user's own offers.

One file per list. A reader is handed bytes and gives `Listed` prices; what it does not understand it counts in a
`Tally`, by reason. Only `fetch` speaks to a network. What may be sold, and how plans use it, is not decided here.
"""
