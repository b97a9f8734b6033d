"""The multi-turn tasks of the Berkeley Function Calling Leaderboard: data, environment, checker and references."""
