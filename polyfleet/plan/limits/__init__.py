"""The limits of a plan: one function per limit, each adds rows that carry the limit's name, so that its price comes
home to it. A limit that only takes choices away (regions, exclusions, terms, hosted) filters in `build_problem`."""
