"""Shared by local backends: tokenizers, chat templates, answers token by token, and decoders."""
