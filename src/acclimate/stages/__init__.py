"""The stages: functions that take records and settings and give records."""
