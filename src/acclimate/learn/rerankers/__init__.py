"""Train rerankers: grouping of queries, losses, the training itself, and merging of weights."""
