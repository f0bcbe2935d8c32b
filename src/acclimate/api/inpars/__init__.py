"""The six steps of the InPars toolkit (arXiv 2307.04601) over the stages here: its files in, its files out.

What is made on the way, LLM answers above all, lies in OUTPUT.partial until a step is done: a killed one goes on. Where
the toolkit's code and the paper disagree it is the paper that holds: no source document is a negative, documents are
cut and never prompts, and 156 steps read 128 rows each.
"""
