"""Documents that came, changed and went since a run was made."""
