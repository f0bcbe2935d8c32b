"""What is written beside an export to search it: each file runs as it is, and is what the export is checked with."""
