"""The offline model as an engine for `dspy.LM`: a simulator, for tests and for comparing search strategies."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeAlias

import dspy
from dspy.lm15 import (
    InvalidRequestError,
    Message,
    Request,
    Response,
    StreamDeltaEvent,
    StreamEndEvent,
    StreamStartEvent,
    TextDelta,
    Usage,
)
from pydantic import ValidationError

from pivot_dspy.dspy_internals import BaseCallback
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.simulator.answer import respond
from pivot_dspy.simulator.prompt import normal_form, read
from pivot_dspy.simulator.reference import Reference, digest
from pivot_dspy.simulator.slips import Rates

_ROLLOUT: ContextVar[int | None] = ContextVar("pivot_dspy_offline_rollout", default=None)


class RolloutIds(BaseCallback):  # type: ignore[misc]
    """A callback of a `dspy.LM` that keeps the `rollout_id` of the call under way, which engines are not told."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        rollout = {**instance.kwargs, **(inputs.get("kwargs") or {})}.get("rollout_id")
        _ROLLOUT.set(rollout if isinstance(rollout, int) else None)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        _ROLLOUT.set(None)


class Calls(NamedTuple):
    """What an engine has been asked so far."""

    lm_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


StreamEvent: TypeAlias = StreamStartEvent | StreamDeltaEvent | StreamEndEvent
_CHUNK = 4  # characters in one piece of a streamed answer: about a token, which is what DSPy's listeners expect


class OfflineEngine:
    """Answers PIVOT's prompts from references, with errors at published rates. A simulator: it is no language model,
    and what is measured with it says nothing of any real model's skill.

    It reads the prompt, as DSPy's ChatAdapter, JSONAdapter and XMLAdapter write it, and its references; never a loss,
    a gold answer or a flag. The phase is known by the output fields that the prompt asks for, the task by the text that
    its reference names. Without a reference a plan is an empty submit, a rewrite changes nothing, and every other field
    is filled with the least that it can hold.

    What it knows: it writes no literal of its reference that its prompt (the whole conversation, without its own
    answers) does not tell, in whatever form: `pivot_dspy.simulator.knowledge`. A plan goes up to the first step with
    such a value, takes in what only reads before the next change, and stops without submit, to look; EVOLVE goes on
    from there, each step written for the first time, as PLAN writes it. Where nothing new can be read it asks to `look`
    at what was cut or summarised; then, at the rate `heed`, it reads again what it should have read; and at last it
    makes up the value, as a slip does. REFLECT tells, at that rate each, what the results say of steps that are not
    there yet.

    The noise model. Each chance is drawn by itself, from a hash of seed, prompt and place; the words that
    `pivot_dspy.prompts.report` declares enter it by their names, so that it does not matter how they are spelt.

    - `slip`: PLAN writes each step of the reference, submit excepted, with one slip at this rate, of a kind drawn
      evenly from those that fit the step: another tool of the prompt's list; another value for a text or number (one
      from elsewhere in the reference, a misspelling, or a number near it); another field in a condition or sort key;
      another earlier step in a binding; a made-up value in place of a binding; one of several lists or records in an
      argument left out; the step left out. Each requirement is forgotten at `slip / 4`. Reflections in `lessons`
      ("- Trial 1:" and on) avert the slip of a step at the rate `heed` if they name the step or a requirement that it
      serves and that was not met; what the reference's `revise` concludes from them, each step by itself, is taken up
      at that rate too.
    - `systematic`: the share of pairs of a tool with one of its literal arguments, or with a field that its bindings
      compare, at which every plan errs in the same way, whatever the task. A text in the prompt's `lessons` that names
      both the tool and the argument or field averts it, in the whole plan, at the rate `heed`: a lesson, a note on a
      tool, or a step of an example. A requirement in `lessons` under an id L1, L2, ... is written among the
      requirements at that rate, what stands in <> evaluated over `known`, unless `known` does not tell it.
    - `heed`: EVOLVE puts a wrong step right at this rate if the feedback names it: in the blame, by its own line that
      says it failed or did not run, by a requirement that it serves and that is not met, or by what `revise`
      concludes. A step that was left out is put back likewise, where the reference has it, or as early as the rewrite
      reaches. LOCALISE names the first wrong suspect, or the end where a step is missing, at this rate, else a random
      one. AUDIT finds each forgotten requirement at this rate. CRITIQUE and REFLECT name, each at this rate, every
      step whose line says that it failed, every unmet requirement, a submit that is wanting, and where there is any of
      these, the first wrong or wanting step, as LOCALISE would. LEARN names for each repair, at this rate, the
      arguments and fields that were mended, with their tool. FIND proposes, at this rate, each fact ("- WORDS: [FIELD,
      OP, VALUE]") of two or more outcomes whose words stand in at least half of them, as a requirement of every
      element.
    - TRANSFER and RESTRUCTURE begin with the first trajectory that they show and take each step that another has right
      over from there at the rate `heed`; the whole is then written as EVOLVE writes a suffix, `relapse` included. Plans
      of one task share ids and outline here, which favours all that joins trajectories.
    - ACT writes the first step of the reference that is not among those shown, with slips as PLAN, and takes up what
      `revise` concludes at the rate `heed`. So are done again, under new ids, steps that are shown to have gone wrong
      (as for EVOLVE); so is done, once only steps that serve no requirement are left, what `revise` proposes with the
      reference's own steps left out.
    - `relapse`: EVOLVE breaks a right step at this rate, by a slip as above, if the prompt makes it write the step
      again, as a rewrite of the whole does. What the prompt lets it `keep` never breaks.
    - `judge_error`: JUDGE turns a verdict round, or overlooks an unsupported claim, at this rate. Without error a
      requirement holds if its reference's truth stands in the observations or the answer, and a claim if the rest of
      the prompt tells its figures.

    PROPOSE can only word goals that it knows how to reach: the texts of references that the prompt does not show yet,
    in random order; at the rate `heed`, those that use a tool that was not used yet come first.

    Confidence, where a prompt asks for it in each step: drawn evenly from [0.6, 1] in a step that is as the reference
    has it, and from [0.3, 0.9] in any other.

    `dspy.Refine`: its OfferFeedback gets for every module what REFLECT would say of the attempt that it shows; a plan's
    `hint_` counts as such a reflection.

    `dspy.ReAct`: each turn makes the next call of the reference, its bindings resolved over the observations that are
    shown; what is done is read from the thoughts ("Step a: ..."). A step over `for_each` becomes one call for each
    element that a later step may still choose. Each call slips as a step of a plan does; what is not known or cannot be
    resolved is made up. A call that has just failed, and one that a later step misses the result of, are made again as
    they should be at the rate `heed`. It never looks at the whole again: `revise` is not asked.

    Programs over the tools (`CodeActing`): one is written as far as PLAN would write a plan, a line for each step, with
    its bindings as Python expressions; so it does not look at a result before it filters it, which favours this rival.
    Where a literal is not known it prints what it read, and goes on from there. Each line slips as a step of a plan
    does. When a program fails, its lines that did not run are written again as they were, a right one broken at the
    rate `relapse`; the failed step, or the nearest that it reads which is not as it should be, is written right at the
    rate `heed`, and what only reads and depends on it is run again; else the failed step is left out. A wrong line that
    runs is not noticed, and `revise` is not asked. A step whose binding this has no Python for is left out: calc, and
    functions beyond the usual ones of JMESPath.

    Randomness: the same call gives the same answer in every process, in any order, after a restart, and with or
    without DSPy's cache. At temperature 0 or None that is the same prompt; above 0 the call's `rollout_id` counts as
    well, so that candidates differ. (DSPy does not tell an engine the id; the callback of `offline_lm` does. An LM that
    was loaded from JSON has none: there all ids are one.)

    Tokens are characters / 4, rounded up, of all the text that was received and of that which was sent (the declared
    words count by their names as well): there is no tokenizer here. An answer over `max_tokens` is cut off, as a
    provider does.

    Attributes:
        references: the tasks that it knows.
        rates: the rates above, with `latency` (seconds that one call takes) and `seed`.
    """

    supported_params = frozenset({"temperature", "max_tokens"})

    def __init__(self, references: Iterable[Reference], rates: Rates | None = None) -> None:
        self.references = tuple(references)
        self.rates = rates or Rates()
        self._lock = threading.Lock()
        self._calls = Calls()

    @property
    def name(self) -> str:
        """The model's name: all that decides its answers, since DSPy's cache key does not include the engine."""
        return f"offline/{self.rates.name},refs={digest(self.references)}"

    @property
    def calls(self) -> Calls:
        """Calls and tokens so far, by sync and async calls together."""
        with self._lock:
            return self._calls

    def complete(self, request: Request) -> Response:
        """One answer.

        Raises:
            dspy.lm15.InvalidRequestError: the prompt is empty.
            dspy.lm15.UnsupportedFeatureError: the prompt holds something other than text, or native tools.
        """
        time.sleep(self.rates.latency)
        return self.answer(request)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """The same answer in pieces."""
        yield from events(self.complete(request))

    def close(self) -> None:
        """Nothing is held."""

    def answer(self, request: Request) -> Response:
        """One answer without the latency."""
        prompt = read(request)
        if not prompt.text.strip():
            raise InvalidRequestError("the prompt is empty", provider="offline")
        text = respond(prompt, self.references, self.rates, _sample(request))
        limit = request.config.max_tokens or tokens(text)
        cut = tokens(text) > limit
        text = text[: 4 * limit] if cut else text
        spent = Usage(input_tokens=tokens(prompt.text), output_tokens=tokens(text))
        with self._lock:
            calls, received, sent = self._calls
            self._calls = Calls(calls + 1, received + spent.input_tokens, sent + spent.output_tokens)
        return response_to(request, text, spent, "length" if cut else "stop")

    def dump_state(self) -> dict[str, Any]:
        """The JSON form, references included; counters are not part of it.

        Raises:
            ConfigurationError: a reference holds code.
        """
        return {"rates": self.rates.model_dump(), "references": [item.to_state() for item in self.references]}

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> OfflineEngine:
        """Inverse of `dump_state`."""
        return cls(map(Reference.model_validate, state["references"]), Rates.model_validate(state["rates"]))

    def __deepcopy__(self, memo: dict[int, Any]) -> OfflineEngine:
        return self

    def __reduce__(self) -> tuple[type[OfflineEngine], tuple[tuple[Reference, ...], Rates]]:
        return type(self), (self.references, self.rates)


def _sample(request: Request) -> str | None:
    """Which sample of a prompt is to be drawn; None for a call that is not sampled."""
    if not request.config.temperature:
        return None
    rollout = _ROLLOUT.get()
    return "0" if rollout is None else str(rollout - 1)


class AsyncOfflineEngine:
    """An `OfflineEngine` awaited; the two share counters. Loaded from JSON, each has its own."""

    supported_params = OfflineEngine.supported_params

    def __init__(self, engine: OfflineEngine) -> None:
        self.engine = engine

    async def complete(self, request: Request) -> Response:
        await asyncio.sleep(self.engine.rates.latency)
        return self.engine.answer(request)

    async def stream(self, request: Request) -> AsyncIterator[StreamEvent]:
        for event in events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Nothing is held."""

    def dump_state(self) -> dict[str, Any]:
        return self.engine.dump_state()

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> AsyncOfflineEngine:
        return cls(OfflineEngine.load_state(state))

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncOfflineEngine:
        return self


def offline_lm(
    references: Iterable[Reference],
    *,
    slip: float = 0.2,
    systematic: float = 0.0,
    heed: float = 0.85,
    relapse: float = 0.05,
    judge_error: float = 0.0,
    latency: float = 0.0,
    seed: int = 0,
    **lm_options: Any,
) -> dspy.LM:
    """A `dspy.LM` that needs no key and no network: a simulator, whose noise model stands at `OfflineEngine`.

    Args:
        references: the tasks that it knows.
        latency: seconds that one call takes.
        lm_options: what `dspy.LM` takes, such as `temperature` or `cache`.

    Raises:
        ConfigurationError: a rate is not in [0, 1], or something that is no `Reference`.

    >>> lm = offline_lm([Reference(match="Which day?", steps=[{"id": "submit", "tool": "submit"}])], slip=0)
    >>> is_simulated(lm), lm.model.startswith("offline/slip=0,")
    (True, True)
    """
    known = tuple(references)
    for item in known:
        if not isinstance(item, Reference):
            raise ConfigurationError(
                f"references are pivot_dspy.simulator.Reference records, not {type(item).__name__}"
            )
    try:
        rates = Rates(
            slip=slip, systematic=systematic, heed=heed, relapse=relapse, judge_error=judge_error, latency=latency,
            seed=seed,
        )  # fmt: skip
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ConfigurationError(f"offline_lm: {wrong['loc'][0]}={wrong['input']!r}: {wrong['msg']}") from error
    engine = OfflineEngine(known, rates)
    callbacks = [RolloutIds(), *(lm_options.pop("callbacks", None) or ())]
    return dspy.LM(
        engine.name, engine=engine, async_engine=AsyncOfflineEngine(engine), callbacks=callbacks, **lm_options
    )


def is_simulated(lm: Any) -> bool:
    """Whether a language model is the offline one, so that what it gives must be shown as simulated."""
    return isinstance(getattr(lm, "engine", None), OfflineEngine)


def response_to(
    request: Request, text: str, usage: Usage, finish_reason: Literal["stop", "length"] = "stop"
) -> Response:
    """The response that says `text`."""
    message = Message.assistant(text)
    return Response(id=None, model=request.model, message=message, finish_reason=finish_reason, usage=usage)


def tokens(text: str) -> int:
    """Characters / 4, rounded up, where a word that the report declares counts as its name.

    >>> tokens(""), tokens("a"), tokens("abcde")
    (0, 1, 2)
    """
    return -(-len(normal_form(text)) // 4)


def events(response: Response) -> Iterator[StreamEvent]:
    """A response as the events of a stream."""
    yield StreamStartEvent(id=response.id, model=response.model)
    text = response.text or ""
    for start in range(0, len(text), _CHUNK):
        yield StreamDeltaEvent(delta=TextDelta(text=text[start : start + _CHUNK], part_index=0))
    yield StreamEndEvent(finish_reason=response.finish_reason, usage=response.usage)
