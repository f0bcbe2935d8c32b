"""What learns: rerankers, students, and the teachers that tell them."""
