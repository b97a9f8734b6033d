"""TreeSearch: Monte Carlo tree search over steps, with reflections on the paths that failed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import dspy
from typing_extensions import Unpack

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.environment.session_group import Tier
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import Flow
from pivot_dspy.phases.act import Act
from pivot_dspy.phases.reflect import Reflect
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import check_range, check_real
from pivot_dspy.refiners.stepwise import Stepwise, action_key, prune_failed
from pivot_dspy.trajectory import Trajectory


@dataclass(eq=False, repr=False)
class Node:
    """A step, with all that is known of the run up to it."""

    content: Any
    """The run of all steps up to this one."""
    parent: Node | None = None
    """The node of the steps before; None at the root."""
    prior: tuple[float, float] = (0.0, 0.0)
    """What orders nodes that were not visited yet, the larger the earlier."""
    failed: bool = False
    """Whether the step gave nothing: it is visited only where nothing else is left."""
    closed: bool = False
    """Whether nothing can come after it."""
    children: list[Node] = field(default_factory=list)
    expanded: bool = False
    visits: int = 0
    value: float = 0.0
    """The sum of the rewards of the visits."""

    def uct(self, weight: float) -> float:
        """Mean reward + weight * sqrt(2 ln(visits of the parent) / visits); infinite before the first visit.

        A step that failed counts as -1 until it is visited, as in the code of LATS.
        """
        if not self.visits:
            return -1.0 if self.failed else math.inf
        above = self.parent.visits if self.parent is not None else self.visits
        return self.value / self.visits + weight * math.sqrt(2 * math.log(max(1, above)) / self.visits)

    def back_up(self, reward: float) -> None:
        """Add a reward and a visit to this node and to every one above it."""
        self.visits += 1
        self.value += reward
        if self.parent is not None:
            self.parent.back_up(reward)

    def close(self) -> None:
        """Nothing comes after this node; those above it close too, where nothing else is left of them."""
        self.closed = True
        above = self.parent
        if above is not None and above.expanded and all(child.closed for child in above.children):
            above.close()


def select(root: Node, weight: float) -> Node | None:
    """The node to expand next: from the root down, the open child with the largest UCT; None where all is closed."""
    node = root
    while not node.closed:
        if not node.expanded:
            return node
        node = max((child for child in node.children if not child.closed), key=lambda n: (n.uct(weight), n.prior))
    return None


class TreeSearch(Stepwise):
    """Grow a tree of steps by MCTS: select by UCT, expand by sampling, roll out to an end, back its reward up.

    Source: LATS (arXiv 2310.04406) and its code. Each iteration expands the selected node, goes on from its best child,
    always with the best of as many samples, to a submit, and backs the reward up. The last reflections on ends that
    failed stand in the prompts of later expansions. Ours departs from the source in that the value of a step is
    1 - loss of the run up to it, with how often it was sampled (its self-consistency) to break ties, so that no model
    is asked for values; that the sum of rewards is divided by the visits once, where its code does so twice; that a
    roll-out follows the best sample, even where another one submits; that a trajectory which was run is never run
    again; and that steps that failed are left out of an end.

    Needs an environment that can be copied (tier `fork`), since the search goes back to earlier states.

    Args:
        iterations: selections at most; 30 as in its code.
        n_generate_sample: samples for each expansion, with one prompt, of which equal ones are one; 5 as in its runs.
            Where tokens are short, 1 or 2 serve better: each level of a path costs that many prompts.
        exploration: the weight of UCT's second term; 1 as in its code.
        max_depth: steps of a path at most. 15 for WebShop and 7 for HotPotQA in its code; plans here may be longer.
        memory: how many of the latest reflections are shown; 3 as in its code.

    The remaining arguments are those of `Refiner`; a `trajectory` that is given is the first path of the tree.

    Raises:
        ConfigurationError: an argument cannot work, or the environment cannot be forked: at construction where that is
            known then, else at the call, before any model is asked.
        PlanningFailed: the model gave no requirements, or not one step.
    """

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        iterations: int = 30,
        n_generate_sample: int = 5,
        exploration: float = 1.0,
        max_depth: int = 25,
        memory: int = 3,
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(1, iterations=iterations, n_generate_sample=n_generate_sample, max_depth=max_depth)
        check_range(0, memory=memory)
        check_real(0, exploration=exploration)
        super().__init__(signature, environment, **options)
        self.act = Act(self.signature)
        if isinstance(environment, type) and issubclass(environment, Environment):
            self._require_fork("fork" if environment.forkable else "replay" if environment.reopenable else "live")
        elif environment is None or isinstance(environment, Environment):
            family = self.session_factory.open(None).family
            family.close()
            self._require_fork(family.tier)
        self.iterations = iterations
        self.n_generate_sample = n_generate_sample
        self.exploration = exploration
        self.max_depth = max_depth
        self.remembered = memory
        self.reflect = Reflect(self.signature)

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        self._require_fork(episode.context.root.family.tier)
        return (yield from _Growth(self, episode).run(start))

    def _require_fork(self, tier: Tier) -> None:
        if tier != "fork":
            raise ConfigurationError(
                "TreeSearch goes back to earlier states, which needs the tier 'fork'; the tier of "
                f"{self.session_factory.name} is {tier!r}. Write an Environment class whose state can be copied (see "
                "Environment.fork), or take a refiner that needs no forks: Pivot, BestOfN, SelfRefine, Reflexion, "
                "RewardRising"
            )


class _Growth:
    """One search: its tree, what was run, and what failed ends have taught."""

    def __init__(self, refiner: TreeSearch, episode: Episode) -> None:
        self.refiner = refiner
        self.episode = episode
        self.ran: dict[str, Candidate] = {}
        self.drawn: Counter[tuple[str, str]] = Counter()
        self.lessons: list[str] = []
        self.reflected: set[float] = set()
        self.best: Candidate | None = None

    def run(self, given: Trajectory | None) -> Search:
        refiner, episode = self.refiner, self.episode
        start, self.best = yield from refiner.start(episode, given)
        root = Node(start)
        if self.best is not None and not self._over():
            yield from self._plant(root, self.best)
        for _ in range(refiner.iterations):
            node = None if self._over() else select(root, refiner.exploration)
            if node is None:
                break
            yield from self._expand(node)
            node.expanded = True
            if not node.children:
                node.close()
            elif not self._over():
                yield from self._learn((yield from self._roll_out(_best_child(node))))
        return (yield from refiner.finish(episode, start, self.best))

    def _over(self) -> bool:
        return self.refiner.is_over(self.episode, self.best)

    def _plant(self, root: Node, whole: Candidate) -> Flow[None]:
        """The given trajectory as the first path."""
        node, trajectory = root, whole.trajectory
        self.ran[trajectory.id] = whole
        for count in range(1, len(trajectory) + 1):
            prefix = trajectory.replace_from(count, [], operator="given")
            candidate = yield from self._run(prefix, whole)
            node.children.append(self._node(candidate, node, 1))
            node = node.children[-1]
        yield from self._learn(node)

    def _expand(self, node: Node) -> Flow[None]:
        """Different next steps, each run, as children of `node`."""
        lessons = "\n".join(self.lessons[-self.refiner.remembered :])
        base: Candidate = node.content
        counts: Counter[str] = Counter()
        steps = {action_key(child.content.trajectory.steps[-1]): child.content for child in node.children}
        old = len(steps)
        for _ in range(self.refiner.n_generate_sample):
            if self._over():
                break
            self.drawn[base.trajectory.id, lessons] += 1
            rollout = self.drawn[base.trajectory.id, lessons]
            trajectory = yield from self.refiner.propose(self.episode, base, rollout, lessons=lessons)
            if trajectory is not None:
                key = action_key(trajectory.steps[-1])
                counts[key] += 1
                if key not in steps:
                    steps[key] = yield from self._run(trajectory, base)
        node.children += [self._node(steps[key], node, counts[key]) for key in [*steps][old:]]

    def _roll_out(self, node: Node) -> Flow[Node]:
        """The end that is reached by always taking the best next step; nodes below `node` do not join the tree."""
        while not node.closed and not self._over():
            scratch = Node(node.content, node)
            yield from self._expand(scratch)
            if not scratch.children:
                break
            best = _best_child(scratch)
            best.parent = node
            node = best
        return node

    def _run(self, trajectory: Trajectory, base: Candidate) -> Flow[Candidate]:
        """The trajectory run from where `base` stands, unless it was run before."""
        if trajectory.id not in self.ran:
            self.ran[trajectory.id] = yield from self.refiner.run_step(self.episode, trajectory, base)
            self.best = self.refiner.keep_best(self.episode, self.best, self.ran[trajectory.id])
        return self.ran[trajectory.id]

    def _node(self, candidate: Candidate, parent: Node, count: int) -> Node:
        trajectory = candidate.trajectory
        ended = trajectory.submit is not None or len(trajectory) >= self.refiner.max_depth
        failed = candidate.inspection.execution.observations[-1].status in ("error", "blocked")
        return Node(candidate, parent, prior=(1 - candidate.loss.total, count), failed=failed, closed=ended)

    def _learn(self, end: Node) -> Flow[None]:
        """Back the reward of an end up, and reflect on it, unless one with the same reward was reflected on."""
        candidate: Candidate = end.content
        clear = prune_failed(candidate)
        if clear is not None:
            prefixes = (clear.replace_from(count, [], operator=clear.operator).id for count in range(len(clear), 0, -1))
            base = next((self.ran[prefix] for prefix in prefixes if prefix in self.ran), candidate)
            shorter = yield from self._run(clear, base)
            candidate = shorter if shorter.loss.better_than(candidate.loss) else candidate
        reward = 1 - candidate.loss.total
        end.back_up(reward)
        if end.closed:
            end.close()
        if not self._over() and self.refiner.remembered and reward not in self.reflected:
            self.reflected.add(reward)
            lesson = yield from self.refiner.lesson(self.episode, self.refiner.reflect, candidate)
            self.lessons += [f"- Trial {len(self.lessons) + 1}:\n{lesson}"] if lesson else []


def _best_child(node: Node) -> Node:
    return max(node.children, key=lambda child: child.prior)
