"""One file per verb. Parses arguments, calls the library, prints; decides nothing."""
