"""How environments are closed: by whoever is done with them, or wherever the garbage collector finds one left."""

from __future__ import annotations

import contextvars
import logging

from pivot_dspy.environment.base import UNDOABLE, Environment, allowing
from pivot_dspy.environment.worker import Worker
from pivot_dspy.errors import error_text

logger = logging.getLogger(__name__)


def close(environment: Environment, committed: bool) -> None:
    """Let `environment` release what it holds; an error of its own is logged.

    In a context of its own, since the garbage collector may call this while a context variable is being set: setting
    one in that same context then crashes CPython 3.10 and 3.11 (python/cpython#148891).

    Args:
        committed: whether all may run in it.
    """
    contextvars.copy_context().run(_close, environment, committed)


def close_later(environment: Environment, worker: Worker | None, committed: bool) -> None:
    """Close without waiting for it, for this runs wherever a session happens to be garbage collected.

    Args:
        worker: the thread that the environment lives in; None where it lives in that of its caller.
    """
    if worker is None:
        close(environment, committed)
    else:
        worker.submit(lambda: close(environment, committed))


def _close(environment: Environment, committed: bool) -> None:
    try:
        with allowing(None if committed else UNDOABLE):
            environment.close()
    except Exception as error:
        logger.warning("close of %s failed: %s", type(environment).__name__, error_text(error))
