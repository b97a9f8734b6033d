"""What reads gave in the trials of a run that keeps a journal: made again, the run is served from there.

A read is known by its tool and arguments, by the changes that were made before it in its copy, and by how often it was
made so. What changes something is made again, in new copies, for the old ones died with their process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pivot_dspy.environment.calls import CallResult
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.plain_json import plain
from pivot_dspy.run_journal import RunJournal
from pivot_dspy.source_digest import digest
from pivot_dspy.trajectory import Fault

READ = "read"
"""Kind of the journal's lines."""


class KeptReads:
    """The reads of one run. Once the run has waited for a person, all is read anew, for the world may have changed.

    Args:
        journal: of the run.
    """

    def __init__(self, journal: RunJournal) -> None:
        self._journal = journal

    def get(self, lineage: str, spec: ToolSpec, arguments: Mapping[str, Any]) -> CallResult | None:
        """What the call gave; None where it has to be made, and is kept then."""
        kept = self._journal.finished(READ, self._key(lineage, spec, arguments))
        if kept is None:
            return None
        fault = None if kept["fault"] is None else Fault.model_validate(kept["fault"])
        return CallResult(kept["value"], fault, kept["seconds"])

    def keep(self, lineage: str, spec: ToolSpec, arguments: Mapping[str, Any], result: CallResult) -> None:
        """Keep what a call gave that `get` did not know."""
        fault = None if result.fault is None else result.fault.model_dump(mode="json")
        line = {"value": result.value, "fault": fault, "seconds": round(result.seconds, 4)}
        self._journal.note(READ, self._key(lineage, spec, arguments), line)

    def _key(self, lineage: str, spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
        return digest([self._journal.waits, after(lineage, spec, arguments)])


def after(lineage: str, spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
    """What tells a session, of which `lineage` told, after one more call."""
    return digest([lineage, spec.name, plain(dict(arguments), fallback=str)])
