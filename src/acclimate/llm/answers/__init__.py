"""What LLMs wrote, made into queries or turned down with a reason."""
