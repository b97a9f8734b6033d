"""A task in the store, a plan for it, and what the phases are told of both."""

import dspy

from pivot_dspy import evaluation
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.settle import PlanningInput
from pivot_dspy.prompts.catalogue import render
from pivot_dspy.requirements import Requirement, Requirements
from tests.scripted import scripted, step, submit
from tests.stores import Store, executed

TASK = dspy.Signature("request -> answer", "Buy what is asked for.")
INPUTS = {"request": "Buy the cheapest red thing."}
TOOLBOX = toolbox_of(Store)
CATALOGUE = render(TOOLBOX, TASK, policy=Store.policy, vocabulary=Store.vocabulary, known='colors() -> ["blue", "red"]')
PLANNING = PlanningInput(INPUTS, CATALOGUE, TOOLBOX)
STEPS = [
    step("a", "find", color="red"),
    step("b", "details", ids="$a.ids"),
    step("c", "add", product_id="max_by($b, &price).id"),
    submit(answer="$c.items[0]"),
]
SETTLED = Requirements(
    items=(
        Requirement(id="R1", check="item", args={"color": "red"}),
        Requirement(id="R2", check="total", args={"max": 50}),
        Requirement(id="R3", text="It is nice."),
    )
)


def shown(run, settled=SETTLED, inputs=INPUTS, catalogue=CATALOGUE):
    """What the phases are shown of a run."""
    findings = evaluation.evaluate(settled, run.execution, run.session)
    return RunView(inputs, catalogue, run.execution, run.session.environment, settled, findings)


def shown_of(steps):
    """What they are shown of a run of `steps`."""
    return shown(executed(steps))


def asked(phase, answers, /, **told):
    """The prediction of a phase whose model answers as scripted, and the scripted engine."""
    lm = scripted(**answers)
    with dspy.context(lm=lm):
        return phase(**told), lm.engine
