"""Measured claims, each with the command that reproduces it."""
