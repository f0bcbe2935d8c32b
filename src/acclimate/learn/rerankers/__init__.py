"""How rerankers learn: which queries teach which of them, the losses, one training, and merged weights."""
