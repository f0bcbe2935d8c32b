"""Serve a finished run over HTTP: search, comparison, feedback and grading, for programs and for the built-in page.

One thread owns what is searched with (`worker`); one guard stands before everything else (`guard`).
"""
