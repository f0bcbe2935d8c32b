"""OpenAI-compatible servers: addresses, requests, answers, failures, and what each server accepts."""
