"""The web page: one offline HTML file from a plan. Reads plans, decides nothing."""
