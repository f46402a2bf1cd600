"""What a build wrote, what it left out, and why."""

from __future__ import annotations

import collections
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..common.files import read_json_object
from .coverage import COVERAGE_COLUMNS, MomentCoverage, warn_of_coverage
from .parts import Problem

logger = logging.getLogger(__name__)

REPORT_FILE = "build_report.json"
_LISTED_PROBLEMS = 20


class FeatureBuildError(ValueError):
    """Feature files are missing or cannot be used, and `strict` was asked for.

    Attributes:
        problems: All of them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(f"{count_problems(self.problems)}:\n{list_problems(self.problems)}")


def count_problems(problems: Sequence[Problem]) -> str:
    """How many files cannot be used, by kind."""
    counts = collections.Counter(problem.kind for problem in problems)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return f"{len(problems)} feature file(s) cannot be used ({kinds})"


def list_problems(problems: Sequence[Problem]) -> str:
    """The first problems, one per line."""
    lines = [f"  {problem}" for problem in problems[:_LISTED_PROBLEMS]]
    more = len(problems) - len(lines)
    return "\n".join(lines + [f"  ... and {more} more"] * bool(more))


@dataclass(frozen=True)
class BuildResult:
    """The tables of a build, and what they were made from.

    Attributes:
        splits: Split name to annotation rows.
        videos: The table of videos.
        queries: Split name to table of queries.
        video_problems: What is wrong with feature files of videos.
        text_problems: Split name to what is wrong with feature files of its queries.
    """

    splits: Mapping[str, Sequence[Mapping[str, Any]]]
    videos: Dataset
    queries: Mapping[str, Dataset]
    video_problems: list[Problem]
    text_problems: Mapping[str, list[Problem]]

    @property
    def problems(self) -> list[Problem]:
        """All problems, those of videos first."""
        return self.video_problems + [problem for found in self.text_problems.values() for problem in found]

    @property
    def vids(self) -> set[str]:
        """The annotated videos."""
        return {row["vid"] for rows in self.splits.values() for row in rows}

    def left_out(self, split: str) -> list[int | str]:
        """The qids of a split that are not in its table."""
        kept = set(map(str, self.queries[split]["qid"]))
        return [row["qid"] for row in self.splits[split] if str(row["qid"]) not in kept]

    def check_complete(self, work: Path) -> None:
        """Check that every annotated video and query was written, or left out for a listed reason, once.

        Raises:
            ValueError: Something is missing without a reason or is there twice, as after another process wrote there.
        """
        written = self.videos["vid"][:]
        lost = self.vids - set(written) - {problem.item for problem in self.video_problems}
        strange = len(written) != len(set(written) & self.vids)
        for split, table in self.queries.items():
            qids = [str(qid) for qid in table["qid"][:]]
            excused = {problem.item for problem in self.text_problems[split]}
            wanted = {str(row["qid"]) for row in self.splits[split] if row["vid"] in set(written)}
            lost |= wanted - set(qids) - excused
            strange |= len(qids) != len(set(qids) & wanted)
        if lost or strange:
            raise ValueError(
                f"What was written does not add up with the annotations ({len(lost)} missing without a reason): "
                f"another process may have written to {work}. Remove that folder and build again."
            )

    def coverage(self, max_video_length: int) -> dict[str, MomentCoverage]:
        """For each split, what of its moments a model sees."""
        return {
            split: MomentCoverage.of(table.select_columns(list(COVERAGE_COLUMNS)), max_video_length)
            for split, table in self.queries.items()
        }

    def report(self, settings: Mapping[str, Any], coverage: Mapping[str, MomentCoverage]) -> dict[str, Any]:
        """The content of `build_report.json`."""
        queries: dict[str, dict[str, Any]] = {}
        for split, seen in coverage.items():
            queries[split] = {
                "annotated": len(self.splits[split]),
                "written": len(self.queries[split]),
                "left_out": self.left_out(split),
            }
            if seen.cut or seen.outside:
                queries[split]["moments"] = {
                    "annotated": seen.moments,
                    "cut": seen.cut,
                    "outside": seen.outside,
                    "max_video_length": seen.max_video_length,
                }
        return {
            "settings": settings,
            "videos": {"annotated": len(self.vids), "written": len(self.videos)},
            "longest_video": max(self.videos["num_clips"][:], default=0),
            "queries": queries,
            "problems_by_kind": dict(collections.Counter(problem.kind for problem in self.problems)),
            "problems": [asdict(problem) for problem in self.problems],
        }

    def warn(self, coverage: Mapping[str, MomentCoverage]) -> None:
        """Log what is left out, and which moments a model does not see."""
        if self.problems:
            logger.warning(
                "%s; %d videos and %d queries are left out:\n%s",
                count_problems(self.problems),
                len(self.vids) - len(self.videos),
                sum(len(self.left_out(split)) for split in self.splits),
                list_problems(self.problems),
            )
        warn_of_coverage(coverage)


def read_report(path: Path) -> dict[str, Any]:
    """Read a `build_report.json`.

    Raises:
        ValueError: It is damaged.
    """
    report = read_json_object(path) or {}
    problems = report.get("problems")
    fields = set(Problem.__dataclass_fields__)
    if "settings" not in report or not isinstance(problems, list):
        raise ValueError(f"{path} is not the report of a build. Remove it, or overwrite the dataset.")
    if not all(isinstance(problem, dict) and set(problem) == fields for problem in problems):
        raise ValueError(f"{path} lists problems of another form. Remove it, or overwrite the dataset.")
    return report
