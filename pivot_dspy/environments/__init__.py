"""Environments on real state: each forks for a trial, and commits all or nothing."""
