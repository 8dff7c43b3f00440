"""The small policy of this project: its weights, its card and the scripts that made it."""
