"""What stands behind a verdict is tried here: right and wrong trajectories, known judges, attacks, leaks and faults."""
