"""Reports of a run: `html` for people, `terminal` for the command line, both from the mapping that is `report.json`."""
