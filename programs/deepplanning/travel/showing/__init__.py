"""A trip as people read it: what there is to show, in the terminal, and as a page."""
