"""The shopping domain of the DeepPlanning benchmark (arXiv 2601.18137), in memory."""
