"""Documents, queries and judgments: read from every format, split into passages, compared with each other."""
