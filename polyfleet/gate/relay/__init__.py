"""One request: where it goes, what its stream has said, how another replica goes on with it."""
