"""What the official score of a plan is blind to: whether trips, roads, nights and sums are those of the database."""
