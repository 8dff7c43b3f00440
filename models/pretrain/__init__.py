"""Pre-training of the small policy from scratch on generated tool-use text."""
