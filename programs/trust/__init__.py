"""What a verdict is worth, measured: the parts of `programs.benchmarks.trust`."""
