"""One OpenAI-compatible endpoint in front of routes; nothing here knows where a replica runs."""
