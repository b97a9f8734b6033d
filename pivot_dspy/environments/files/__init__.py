"""What environments on files are made of: what is shown, a tree with changes, and how these are made real."""
