"""Serve a finished run over HTTP: search, comparison, feedback and grading, for programs and for the built-in page.

A single worker thread owns the models and indexes (`worker`); every request first passes the guard (`guard`).
"""
