"""Profiles, the local Prefect stack and the demo."""
