"""Every name of DSPy's that this package takes from somewhere else than `dspy` itself, in one place.

DSPy moves such names between releases; what has to follow then is this module alone. `dspy.lm15` and `dspy.teleprompt`,
the documented ways to write an engine and an optimizer, are imported where they are used.
"""

from dspy.dsp.utils.settings import DEFAULT_CONFIG, settings
from dspy.predict.parameter import Parameter
from dspy.predict.refine import OfferFeedback, Refine
from dspy.signatures.signature import ensure_signature
from dspy.utils.callback import BaseCallback, with_callbacks
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMAuthError,
    LMConfigurationError,
    LMError,
)
from dspy.utils.usage_tracker import UsageTracker

__all__ = [
    "DEFAULT_CONFIG",
    "AdapterParseError",
    "BaseCallback",
    "ContextWindowExceededError",
    "LMAuthError",
    "LMConfigurationError",
    "LMError",
    "OfferFeedback",
    "Parameter",
    "Refine",
    "UsageTracker",
    "ensure_signature",
    "settings",
    "with_callbacks",
]
