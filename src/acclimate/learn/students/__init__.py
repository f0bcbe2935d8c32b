"""Students: retrievers trained by distillation."""
