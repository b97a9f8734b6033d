"""A reviewer at a terminal: what it is shown, and a menu of single letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.human.feedback import Approve, Comment, Edit, HumanFeedback, Pin, Reject, Require, Respond, Stop
from pivot_dspy.human.review import Review
from pivot_dspy.human.sections import Line, sections, title
from pivot_dspy.human.validation import problems

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "result": "dim", "new": "green", "changed": "yellow", "pinned": "bold cyan", "good": "green", "bad": "red",
    "waits": "magenta",
}  # fmt: skip
"""How what stands out is drawn."""
MENU = (
    "[a]pprove  [e]dit a step  [r]eject  re[s]pond for a call  [c]omment  [p]in steps  re[q]uire  sto[x]  "
    "[Enter] nothing to say"
)


class TerminalReviewer:
    """Shows a review in the terminal and asks what to do; several things may be done before it goes on.

    An answer that does not fit is refused at once. The end of the input means nothing to say; Ctrl-C goes to the run,
    which then gives back the best so far.

    Args:
        console: where it is shown; a new one of rich's by default.
        ask: reads a line after a prompt; `input` by default.

    Raises:
        ConfigurationError: rich is not installed.
    """

    def __init__(self, console: Console | None = None, ask: Callable[[str], str] = input) -> None:
        try:
            from rich.console import Console
        except ImportError as error:
            raise ConfigurationError("a TerminalReviewer needs rich; pip install 'pivot_dspy[human]'") from error
        self.console = Console() if console is None else console
        self._read = ask

    def __call__(self, review: Review) -> HumanFeedback:
        self.show(review)
        actions: list[Any] = []
        while True:
            try:
                chosen = self._read(f"{MENU}\n> ").strip().lower()
                if not chosen:
                    return HumanFeedback(actions=tuple(actions))
                action = self._action(chosen[0])
            except EOFError:
                return HumanFeedback(actions=tuple(actions))
            except ValueError as error:
                self._say(str(error))
                continue
            if action is None:
                self._say(f"{chosen!r} is none of the letters")
                continue
            wrong = problems(HumanFeedback(actions=(*actions, action)), review)
            if wrong:
                self._say("; ".join(wrong))
                continue
            actions.append(action)
            if isinstance(action, (Approve, Reject, Stop)):
                return HumanFeedback(actions=tuple(actions))

    def show(self, review: Review) -> None:
        """Show a review."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.panel import Panel
        from rich.text import Text

        body: list[Any] = []
        for section in sections(review):
            body.append(Text(section.title, style="bold"))
            for line in section.lines:  # one that is too long goes on below itself
                text = line.text.lstrip()
                indent = 2 + len(line.text) - len(text)
                body.append(Padding(Text(text, style=_style(line)), (0, 0, 0, indent)))
        self.console.print(Panel(Group(*body), title=title(review), title_align="left", border_style="dim"))

    def _action(self, letter: str) -> Any:
        """What a letter stands for, with what has to be asked for it; None for a letter that stands for nothing.

        Raises:
            ValueError: what was typed cannot be read.
        """
        if letter == "a":
            return Approve(steps=self._words("steps to approve, all if none: "))
        if letter == "e":
            return Edit(step=self._line("step: "), args=self._json("arguments that change, as JSON: ", dict))
        if letter == "r":
            return Reject(message=self._line("why: "), step=self._step())
        if letter == "s":
            return Respond(step=self._line("step: "), value=self._json("its result, as JSON: "))
        if letter == "c":
            return Comment(message=self._line("what to change: "), step=self._step())
        if letter == "p":
            return Pin(steps=self._words("steps: "))
        if letter == "q":
            return Require(requirement=self._line("what has to hold: "))
        return Stop() if letter == "x" else None

    def _step(self) -> str | None:
        return self._line("from which step on, none for all: ") or None

    def _line(self, prompt: str) -> str:
        return self._read(prompt).strip()

    def _words(self, prompt: str) -> tuple[str, ...]:
        return tuple(self._line(prompt).replace(",", " ").split())

    def _json(self, prompt: str, kind: type = object) -> Any:
        text = self._line(prompt)
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ValueError(f'this is no JSON: {error}; a text stands in quotes, {{"room": "Blue"}}') from error
        if not isinstance(value, kind):
            raise ValueError('arguments are an object, such as {"room": "Blue"}')
        return value

    def _say(self, text: str) -> None:
        self.console.print(text, style="red", markup=False, soft_wrap=True)


def _style(line: Line) -> str:
    return STYLES.get(line.mark, "")
