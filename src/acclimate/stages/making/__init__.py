"""Each stage as the pipeline makes it: what it reads of earlier ones, the function at work, and what it writes."""
