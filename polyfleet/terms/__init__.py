"""The nouns: small frozen values that every other folder speaks in.

No I/O, no solver, no network here: a term is built from values, never from a path. Units stand in the names
(`memory_gib`, `usd_per_hour`, `ttft_ms`); time is UTC, money USD.
"""
