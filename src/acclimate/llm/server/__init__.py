"""How an OpenAI-compatible server is asked: addresses, requests, answers, failures, and what each server takes."""
