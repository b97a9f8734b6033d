"""What a repair has to know of the tools."""

from __future__ import annotations

from pivot_dspy.episode.context import TaskContext
from pivot_dspy.gradient import NEW_TOOL, Gradient
from pivot_dspy.prompts import catalogue
from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.trajectory import Trajectory


def repair_catalogue(context: TaskContext, trajectory: Trajectory, gradient: Gradient) -> Catalogue:
    """The catalogue with the types of those tools alone that the questioned steps and the blame name; the whole one
    where a tool may be wanting."""
    if gradient.kind in NEW_TOOL or not gradient.questioned:
        return context.catalogue
    blame = gradient.to_text()
    tool_of = {step.id: step.tool for step in trajectory.steps}
    dependencies = trajectory.dependencies()
    typed = {tool_of[step] for step in gradient.questioned}
    typed.update(name for name in context.toolbox.tools if name in blame)
    bound = {tool_of[source] for step in gradient.questioned for source in dependencies[step] if source in tool_of}
    read = [name for name in context.toolbox.tools if name not in bound]
    tools = catalogue.brief(context.toolbox, context.signature, read=read, typed=typed | bound)
    return context.catalogue.model_copy(update={"tools_brief": tools})
