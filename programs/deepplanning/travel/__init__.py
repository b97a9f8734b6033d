"""The DeepPlanning travel domain: a day-by-day trip plan to one city, from tools over a small database."""
