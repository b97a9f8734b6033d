"""A person in the loop: what a reviewer is shown, what it may answer, and reviewers that are ready to use.

>>> import pivot_dspy
>>> def careful(review):
...     return pivot_dspy.human.Approve() if review.loss.perfect else pivot_dspy.human.Comment(message="Try again.")
>>> def double(number: int) -> int:
...     return 2 * number
>>> pivot = pivot_dspy.Pivot("question -> answer: int", tools=[double], effects="read", reviewer=careful)
"""

from pivot_dspy.human.feedback import (
    Approve,
    Comment,
    Edit,
    HumanFeedback,
    Pin,
    Reject,
    Require,
    Respond,
    Stop,
)
from pivot_dspy.human.files import FileReviewer, OpenReview
from pivot_dspy.human.oracle import OracleReviewer
from pivot_dspy.human.review import RequirementStanding, Review, Reviewer, ToolForm, When
from pivot_dspy.human.terminal import TerminalReviewer
from pivot_dspy.human.validation import problems

__all__ = [
    "Approve",
    "Comment",
    "Edit",
    "FileReviewer",
    "HumanFeedback",
    "OpenReview",
    "OracleReviewer",
    "Pin",
    "Reject",
    "Require",
    "RequirementStanding",
    "Respond",
    "Review",
    "Reviewer",
    "Stop",
    "TerminalReviewer",
    "ToolForm",
    "When",
    "problems",
]
