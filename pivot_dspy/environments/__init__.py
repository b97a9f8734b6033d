"""Environments on real state, ready to use; each needs an extra of its own."""
