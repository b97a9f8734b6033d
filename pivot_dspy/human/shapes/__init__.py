"""Reviews in the shapes that other frameworks' users know: `langchain`, `ag_ui` and MCP's `elicitation`.

Each module has `request`, from a `Review` to the peer's plain data, and `feedback`, from the peer's answer and the
review to a `HumanFeedback` that fits it, or a ConfigurationError and nothing. None needs the peer's package.

Asked about are the calls that wait for an approval or for commit, and, where none does, the answer.

>>> from pivot_dspy.human.shapes import ag_ui, elicitation, langchain
>>> all(callable(shape.request) and callable(shape.feedback) for shape in (ag_ui, elicitation, langchain))
True
"""
