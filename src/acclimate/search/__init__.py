"""Retrievers: BM25, dense, late interaction, their fusion, and any of them reranked."""
