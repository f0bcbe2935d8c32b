"""LLM backends: one file each, listed in `acclimate.llm.BACKENDS`."""
