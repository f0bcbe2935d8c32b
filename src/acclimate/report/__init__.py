"""What a run came to: `html` for people, `table` for the terminal, both from the mapping that is `report.json`."""
