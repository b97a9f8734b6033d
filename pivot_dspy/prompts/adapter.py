"""The adapter of the phases where the user has set none: DSPy's chat format, told in fewer words."""

from __future__ import annotations

import textwrap
from typing import Any

import dspy


class BriefChatAdapter(dspy.ChatAdapter):  # type: ignore[misc]
    """`dspy.ChatAdapter` without the empty form of a prompt: each message shows the form anyhow, and ends with it."""

    def format_field_structure(self, signature: Any) -> str:
        return "All interactions will be fields under headers `[[ ## name ## ]]`."

    def format_task_description(self, signature: Any) -> str:
        return f"In them, your objective is:\n{textwrap.dedent(signature.instructions)}"

    def user_message_output_requirements(self, signature: Any) -> str:
        fields = ", ".join(
            f"`[[ ## {name} ## ]]`{'' if field.annotation is str else ' (JSON)'}"
            for name, field in signature.output_fields.items()
        )
        return f"Respond with the corresponding output fields: {fields}, `[[ ## completed ## ]]`."
