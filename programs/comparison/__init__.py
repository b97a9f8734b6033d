"""Refiners compared on the same tasks with the same seeds."""
