"""Parts of `programs.compile_shopping`: how tasks are split, tested, and what a compiled refiner is compared with."""
