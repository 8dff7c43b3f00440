"""Prefect tasks: read references, call the library, write an artifact, return its reference."""
