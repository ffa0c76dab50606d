"""The flow of a job: decides, never computes. Ports are injected; nothing here knows torch, Ray or a database."""
