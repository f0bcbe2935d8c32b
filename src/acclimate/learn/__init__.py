"""Training: rerankers, students, and the teachers whose scores students learn from."""
