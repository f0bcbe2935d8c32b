"""The version: a part of every fingerprint, so below everything."""

__version__ = "0.1.0"
