"""Reviews as files: the run ends, somebody answers when there is time, and the run goes on in whatever process."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pivot_dspy.errors import ConfigurationError, ReviewAwaited
from pivot_dspy.human.feedback import HumanFeedback
from pivot_dspy.human.review import Review
from pivot_dspy.human.validation import problems
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.trajectory import Frozen

FORMAT = 1
"""Of the files."""
REVIEW, FEEDBACK = ".review.json", ".feedback.json"
"""How the names of the files end, behind the id of the review."""
VALUE_CAP = 120
"""Characters of a result that is said to have changed."""


class OpenReview(Frozen):
    """A review that waits for an answer."""

    format: int = FORMAT
    asked: datetime
    expires: datetime | None = None
    """When it cannot be answered any more; None for never."""
    superseded_by: str | None = None
    """Id of the review that is asked instead, since something has changed."""
    review: Review

    @property
    def is_expired(self) -> bool:
        return self.expires is not None and _now() >= self.expires


class FileReviewer:
    """A reviewer that writes each review into a folder and ends the run, which `Refiner.resume` goes on with once the
    answer is there. Give the refiner a journal, so that nothing is asked of a model again.

    Args:
        folder: where the reviews and answers are; other programs may list and answer them, by `reviews` and `answer`.
        expires: seconds after which a review cannot be answered any more; resuming asks anew. None for never.

    >>> import tempfile
    >>> inbox = FileReviewer(tempfile.mkdtemp())
    >>> inbox.reviews()
    []
    """

    def __init__(self, folder: str | os.PathLike[str], *, expires: float | None = None) -> None:
        if expires is not None and not expires > 0:
            raise ConfigurationError(f"expires is in seconds and above 0, or None for never; got {expires!r}")
        self.folder = Path(folder)
        self.expires = expires

    def __call__(self, review: Review) -> HumanFeedback:
        """The answer, where there is one.

        Raises:
            ReviewAwaited: there is none yet.
        """
        answered = self._answered(review.id)
        if answered is not None:
            return answered
        self.folder.mkdir(parents=True, exist_ok=True)
        standing = self._read(review.id)
        if standing is None or standing.is_expired:
            expires = None if self.expires is None else _now() + timedelta(seconds=self.expires)
            standing = OpenReview(asked=_now(), expires=expires, review=self._supersede(review))
            self._write(standing)
        raise ReviewAwaited(standing.review)

    def reviews(self) -> list[OpenReview]:
        """The reviews that can be answered, the oldest first.

        Raises:
            ConfigurationError: a file is damaged, or of another format.
        """
        names = (path.name.removesuffix(REVIEW) for path in self.folder.glob(f"*{REVIEW}"))
        standing = (self._read(name) for name in names if self._answered(name) is None)
        waiting = [one for one in standing if one is not None and one.superseded_by is None and not one.is_expired]
        return sorted(waiting, key=lambda one: one.asked)

    def answer(self, review_id: str, feedback: Any) -> HumanFeedback:
        """Answer a review, for the run to go on with. The same answer twice is harmless.

        Args:
            feedback: what `HumanFeedback.of` takes.

        Raises:
            ConfigurationError: there is no such review, it has expired, was superseded or has another answer, or the
                feedback does not fit it; nothing was written then.
        """
        standing = self._read(review_id)
        if standing is None:
            ids = ", ".join(one.review.id for one in self.reviews()) or "none"
            raise ConfigurationError(f"{self.folder} has no review {review_id!r}; those that wait: {ids}")
        given = HumanFeedback.of(feedback)
        given = given.model_copy(update={"review": given.review or review_id})
        before = self._answered(review_id)
        if before is not None:
            if before != given:
                raise ConfigurationError(f"review {review_id} was answered otherwise: {before.to_json()}")
            return before
        if standing.superseded_by is not None:
            raise ConfigurationError(
                f"review {review_id} is not asked any more, for something has changed; answer {standing.superseded_by}"
            )
        if standing.is_expired:
            when = standing.expires
            raise ConfigurationError(f"review {review_id} expired at {when}; resume the run to be asked anew")
        if wrong := problems(given, standing.review):
            raise ConfigurationError(f"review {review_id}: {'; '.join(wrong)}")
        _write_whole(self.folder / f"{review_id}{FEEDBACK}", given.to_json())
        return given

    def _answered(self, review_id: str) -> HumanFeedback | None:
        path = self.folder / f"{review_id}{FEEDBACK}"
        return HumanFeedback.of(path.read_text(encoding="utf-8")) if path.exists() else None

    def _read(self, review_id: str) -> OpenReview | None:
        path = self.folder / f"{review_id}{REVIEW}"
        if Path(path.name) != Path(f"{review_id}{REVIEW}") or not path.exists():
            return None
        text = path.read_text(encoding="utf-8")
        try:
            form = json.loads(text).get("format")
            if form == FORMAT:
                return OpenReview.model_validate_json(text)
        except (ValueError, AttributeError, ValidationError) as error:
            raise ConfigurationError(f"{path} is damaged: {error}; delete it, and resume the run") from error
        raise ConfigurationError(f"{path} has the format {form!r}, and this version of pivot_dspy reads {FORMAT}")

    def _write(self, review: OpenReview) -> None:
        _write_whole(self.folder / f"{review.review.id}{REVIEW}", review.model_dump_json())

    def _supersede(self, review: Review) -> Review:
        """The review, which says what has changed since the same question was asked before."""
        question = review.id.rpartition("-")[0]
        earlier = (self._read(path.name.removesuffix(REVIEW)) for path in self.folder.glob(f"{question}-*{REVIEW}"))
        for before in earlier:
            if before is None or before.review.id == review.id or before.superseded_by is not None:
                continue
            self._write(before.model_copy(update={"superseded_by": review.id}))
            changes = "; ".join(_changes(before.review, review))
            note = f"since this was asked before ({before.review.id}): {changes}"
            review = review.model_copy(update={"note": "\n".join(filter(None, (review.note, note)))})
        return review


def _changes(before: Review, now: Review) -> list[str]:
    """What is otherwise in a review than in one before it, a few words each."""
    was, seen = before.execution.by_step, now.execution.by_step
    changes = [
        f"step {name} gave {_shown(was[name].value)} and gives {_shown(seen[name].value)}"
        for name in seen
        if name in was and was[name].value != seen[name].value
    ]
    difference = now.trajectory.diff(before.trajectory)
    changes += [f"step {step.id} is new" for step in difference.added]
    changes += [f"step {step.id} is gone" for step in difference.removed]
    changes += [f"step {change.after.id} is written otherwise" for change in difference.changed]
    return changes or ["a call has other arguments"]


def _shown(value: Any) -> str:
    return truncate(compact_json(value), VALUE_CAP)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds all of it, or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
