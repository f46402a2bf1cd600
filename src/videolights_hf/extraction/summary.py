"""What an extraction did, and what it could not do."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.failures import FAILURES_FILE, Failure


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction did, in all its processes.

    Attributes:
        done: Items whose features were computed.
        skipped: Items whose features were there already.
        failed: Items without features, sorted.
    """

    done: int
    skipped: int
    failed: tuple[Failure, ...] = ()

    def __str__(self) -> str:
        counts = f"{self.done} done, {self.skipped} already there, {len(self.failed)} failed"
        return f"{counts} ({FAILURES_FILE} names them)" if self.failed else counts
