"""The backends: one file each, named in the table of `acclimate.llm`."""
