"""The six steps of the InPars toolkit (arXiv 2307.04601) on this package's stages, with the toolkit's file formats.

Intermediate files, LLM answers above all, are in OUTPUT.partial until a step is done, so an interrupted step resumes.
Where the toolkit's code and the paper disagree, the paper is followed: a source document is never a negative, documents
are truncated and prompts never, and 156 steps read 128 rows each.
"""
