"""What a refiner has learned from earlier tasks: example trajectories, lessons, notes on tools; and its retrieval."""
