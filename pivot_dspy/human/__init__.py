"""A person in the loop: what a reviewer is shown, what it may answer, and reviewers that are ready to use."""
