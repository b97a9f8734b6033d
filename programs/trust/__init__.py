"""What stands behind a verdict: right and wrong trajectories, judges of known character, hostile results, leaks, faults."""
