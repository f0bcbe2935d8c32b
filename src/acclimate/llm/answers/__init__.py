"""Parse LLM answers into queries, or reject them with a reason."""
