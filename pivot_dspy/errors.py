"""The exceptions that reach a user of this package."""


class PivotError(Exception):
    """Base of every error raised on purpose by `pivot_dspy`."""


class ConfigurationError(PivotError, ValueError):
    """What was passed at construction cannot work; the message names the remedy."""


class TrajectoryError(PivotError, ValueError):
    """A trajectory, or text that should become one, is not well formed."""


class PlanningFailed(PivotError, RuntimeError):
    """No executable trajectory could be obtained from the language model.

    Attributes:
        ledger: the `LedgerReport` of what was spent before giving up.
    """

    def __init__(self, message: str, ledger: object = None) -> None:
        super().__init__(message)
        self.ledger = ledger


class CommitError(PivotError, RuntimeError):
    """A trajectory may not be made real, or departed from what was verified while it was.

    Attributes:
        result: the refined prediction that was to be committed, so that nothing of it is lost.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class TooManyErrors(PivotError, RuntimeError):
    """`max_errors` runs of a program failed while it was compiled; the message sums up how.

    Attributes:
        errors: each task that failed, by its description, with what it raised.
        compiled: the program as far as it was compiled by then, None where nothing was accepted yet. With a `log_dir`,
            all that had finished is saved there, and the next `compile` goes on from it.
    """

    def __init__(self, message: str, errors: tuple[tuple[str, Exception], ...] = (), compiled: object = None) -> None:
        super().__init__(message)
        self.errors = errors
        self.compiled = compiled
