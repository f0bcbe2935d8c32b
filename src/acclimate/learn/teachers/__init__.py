"""Teachers: scorers of candidates, chosen and weighted by how much they help."""
