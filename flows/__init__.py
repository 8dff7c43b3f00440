"""Prefect flows: they read like the paper's algorithm and hold no rows."""
