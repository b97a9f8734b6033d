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
