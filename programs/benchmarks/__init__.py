"""Commands that measure, each run as `python -m programs.benchmarks.NAME`."""
