"""The score of a travel plan as DeepPlanning (arXiv 2601.18137) gives it: 21 checks and the hard constraints."""
