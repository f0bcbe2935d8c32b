"""Students: the retrievers that a teacher's judgement is distilled into."""
