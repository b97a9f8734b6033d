"""Environments on real state, ready to use: each forks for a trial, or waits for commit. Each needs an extra."""
