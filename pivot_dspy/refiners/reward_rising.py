"""RewardRising: at each step, next actions are sampled until one's reward rises above that of the step before."""

from __future__ import annotations

import dspy
from typing_extensions import Unpack

from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode import events
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.flow import Flow
from pivot_dspy.phases.act import Act
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import check_range
from pivot_dspy.refiners.stepwise import Stepwise, action_key, prune_failed
from pivot_dspy.trajectory import Trajectory


class RewardRising(Stepwise):
    """Sample next actions until one's reward rises; take it and go on; of a full set of samples take the best.

    Source: RRO (arXiv 2505.20737), its reward rising sampling. The samples that were passed over are its rejected
    actions: each has a `reject` event with its loss and shares its prefix with the one that was taken, so that both
    make a preference pair. Ours departs from the source in that the reward of a step is 1 - loss of the run so far, not
    the mean outcome of Monte Carlo rollouts, which cost a whole run for each sample; that a step which only reads, or
    waits for commit, need not raise it, since requirements look at the state, but must not lower it; that a sample
    which repeats another is not run again; and that steps that failed are left out of the end result.

    Args:
        max_samples: next actions at most that are sampled at one step. The source samples 1.86 a step on average and
            its rivals take 3 to 5; the cap is ours.
        max_steps: steps at most; the source takes what its benchmark allows.
        ties: whether a reading step may leave the reward where it is; False is the strict rule of the source.
        show_siblings: whether the prompt shows the samples that were passed over at this step; not so in the source.

    The remaining arguments are those of `Refiner`; the steps of a `trajectory` that is given are the first samples, as
    long as they are taken. Any tier of environment will do; without forks, each step runs those before it again.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: the model gave no requirements, or not one step.
    """

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        max_samples: int = 5,
        max_steps: int = 25,
        ties: bool = True,
        show_siblings: bool = False,
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(1, max_samples=max_samples, max_steps=max_steps)
        super().__init__(signature, environment, **options)
        self.act = Act(self.signature)
        self.max_samples = max_samples
        self.max_steps = max_steps
        self.ties = ties
        self.show_siblings = show_siblings

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        root, whole = yield from self.start(episode, start)
        best, current = whole, root
        for _ in range(self.max_steps):
            if current.trajectory.submit is not None or self.is_over(episode, best):
                break
            samples = yield from self._sample_steps(episode, current, whole)
            if not samples:
                break
            # The last one rose, or the set is full; of equals the first was the model's first thought.
            rose = self.rises(episode, samples[-1], current)
            chosen = samples[-1] if rose else min(samples, key=lambda sample: sample.loss.total)
            for sample in samples:
                if sample is not chosen:
                    episode.emit(events.RejectEvent(trajectory=sample.trajectory, loss=sample.loss))
            if best is None or chosen.loss.no_worse_than(best.loss):
                best = self.keep_best(episode, best, chosen)
            current = chosen
        clear = prune_failed(current)
        if clear is not None:
            best = self.keep_best(episode, best, (yield from self.run(episode, clear, current)))
        return (yield from self.finish(episode, root, best))

    def rises(self, episode: Episode, sample: Candidate, before: Candidate) -> bool:
        """Whether the last step of `sample` raises the reward above that of the steps before it."""
        if sample.loss.better_than(before.loss) or not self.ties:
            return sample.loss.better_than(before.loss)
        step, observation = sample.trajectory.steps[-1], sample.inspection.execution.observations[-1]
        spec = episode.context.toolbox.spec(step.tool)
        read = spec is not None and spec.effect == "read" and observation.ok
        return (read or observation.status == "withheld") and sample.loss.no_worse_than(before.loss)

    def _sample_steps(self, episode: Episode, current: Candidate, whole: Candidate | None) -> Flow[list[Candidate]]:
        """Different next steps after `current`, each run, up to the first that rises."""
        samples: dict[str, Candidate] = {}
        base = whole if whole is not None and whole.extends(current) else current
        for number in range(1, self.max_samples + 1):
            trajectory: Trajectory | None
            if base is not current and number == 1:
                trajectory = base.trajectory.replace_from(len(current.trajectory) + 1, [], operator="given")
            elif episode.spent():
                break
            else:
                siblings = [*samples.values()] if self.show_siblings else []
                trajectory = yield from self.propose(episode, current, number, siblings=siblings)
            if trajectory is None or action_key(trajectory.steps[-1]) in samples:
                continue
            sample = yield from self.run_step(episode, trajectory, base)
            samples[action_key(trajectory.steps[-1])] = sample
            if self.rises(episode, sample, current):
                break
        return [*samples.values()]
