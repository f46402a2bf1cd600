"""Feature datasets streamed from Parquet, from a folder or the Hub, without a copy on the local disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import IterableDataset, get_worker_info

from ..common.messages import unknown_name
from .annotations import select_domain
from .coverage import COVERAGE_COLUMNS, MomentCoverage, warn_of_coverage
from .dataset import EpochCounter
from .items import Item, ItemBuilder
from .labels import draw_generator
from .rows import BatchReader
from .tables import QUERIES, VIDEOS, annotation_columns, row_to_annotation

if TYPE_CHECKING:
    from ..models.configuration import DetectorConfig


class RowGroup(NamedTuple):
    """A Parquet row group.

    Attributes:
        file: Number of the file, in the order of the names.
        group: Number of the row group in the file.
    """

    file: int
    group: int


class StreamBlock(NamedTuple):
    """One step of a stream: a row group of videos and all queries about them.

    Attributes:
        videos: The videos.
        queries: For each row group of queries that has some of these videos, the rows to take.
    """

    videos: RowGroup
    queries: dict[RowGroup, list[int]]


class _ParquetTable:
    """Random access to the row groups of a table of several files, which are opened once and when needed.

    Reading with `datasets` and stopping early can hang or abort the interpreter at exit, because threads of pyarrow
    are still at work. Here they never start. An object serves one pass of one process: workers must not share files.
    """

    def __init__(self, filesystem: fsspec.AbstractFileSystem, paths: list[str]) -> None:
        self._filesystem = filesystem
        self._paths = paths
        self._open: dict[int, pq.ParquetFile] = {}

    def groups(self) -> list[RowGroup]:
        """Every row group, in order."""
        return [
            RowGroup(number, group)
            for number in range(len(self._paths))
            for group in range(self._file(number).num_row_groups)
        ]

    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._file(0).schema_arrow.names

    def read(self, group: RowGroup, columns: list[str]) -> pa.Table:
        """Some columns of one row group."""
        return self._file(group.file).read_row_group(group.group, columns=columns, use_threads=False)

    def _file(self, number: int) -> pq.ParquetFile:
        if number not in self._open:
            source = self._filesystem.open(self._paths[number], "rb")
            self._open[number] = pq.ParquetFile(source, pre_buffer=False)
        return self._open[number]


class StreamingFeatureDataset(EpochCounter, IterableDataset):
    """The queries of one split, streamed from the Parquet files of `export_parquet` or `push_feature_dataset`.

    The stream goes through the table of videos block by block (one Parquet row group each) and yields the queries of
    the block's videos. Each data loader worker streams blocks of its own.

    Args:
        path: A folder that `export_parquet` wrote, or `"hf://datasets/OWNER/NAME"`.
        split: Name of the split.
        builder: What an item is made of.
        domain: Use only the queries of this domain (TVSum, YouTube Highlights).
        shuffle: Shuffle the blocks and the queries within each block, anew in every epoch.

    Raises:
        FileNotFoundError: There are no Parquet files of a feature dataset at `path`.
        ValueError: Unknown split, a backbone that the tables do not have, clips of another length than the model's, a
            domain that does not exist, or a query whose video is missing.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        split: str,
        builder: ItemBuilder,
        domain: str | None = None,
        shuffle: bool = False,
    ) -> None:
        super().__init__()
        filesystem, root = fsspec.url_to_fs(os.fspath(path))
        names = [name.rsplit("/", 1)[-1] for name in filesystem.glob(f"{root}/{QUERIES}/*.parquet")]
        splits = {name.split("-")[0] for name in names}
        self._video_paths = sorted(filesystem.glob(f"{root}/{VIDEOS}/{VIDEOS}-*.parquet"))
        if not splits or not self._video_paths:
            raise FileNotFoundError(f"{path} has no Parquet files of a feature dataset; `export_parquet` writes them.")
        if split not in splits:
            raise ValueError(unknown_name("split", split, splits))
        self.builder = builder
        self.shuffle = shuffle
        self._filesystem = filesystem
        self._query_paths = sorted(filesystem.glob(f"{root}/{QUERIES}/{split}-*.parquet"))
        videos, queries = self._tables()
        builder.check_columns(videos.columns(), queries.columns())
        self._annotation_columns = annotation_columns(queries.columns())
        self._blocks = self._plan(videos, queries, domain, split)

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike,
        split: str,
        config: DetectorConfig,
        training: bool = False,
        seed: int = 2018,
        domain: str | None = None,
        shuffle: bool = False,
    ) -> StreamingFeatureDataset:
        """The stream of one split, for a model; see the class and `FeatureDataset.from_config`."""
        return cls(path, split, ItemBuilder.from_config(config, training, seed), domain, shuffle)

    def _tables(self) -> tuple[_ParquetTable, _ParquetTable]:
        return _ParquetTable(self._filesystem, self._video_paths), _ParquetTable(self._filesystem, self._query_paths)

    def _plan(
        self, videos: _ParquetTable, queries: _ParquetTable, domain: str | None, split: str
    ) -> list[StreamBlock]:
        """The blocks of the stream, in the order of the videos."""
        groups = videos.groups()
        block_of = {
            vid: block for block, group in enumerate(groups) for vid in videos.read(group, ["vid"])["vid"].to_pylist()
        }
        rows: list[dict[str, Any]] = []
        for group in queries.groups():
            table = queries.read(group, ["vid", "domain", *COVERAGE_COLUMNS])
            rows += [row | {"group": group, "row": index} for index, row in enumerate(table.to_pylist())]
        if domain is not None:
            rows = select_domain(rows, domain)
        self.builder.check_clip_length({row["clip_length"] for row in rows})
        lost = [row["vid"] for row in rows if row["vid"] not in block_of]
        if lost:
            raise ValueError(f"{len(lost)} queries are of videos that are not in the table: {lost[:10]}.")
        coverage = MomentCoverage.of(rows, self.builder.max_video_length)
        warn_of_coverage({split: coverage})
        unseen = set(coverage.unseen) if self.builder.training else set()
        blocks = [StreamBlock(group, {}) for group in groups]
        for number, row in enumerate(rows):
            if number not in unseen:
                blocks[block_of[row["vid"]]].queries.setdefault(row["group"], []).append(row["row"])
        return [block for block in blocks if block.queries]

    def __len__(self) -> int:
        return sum(len(rows) for block in self._blocks for rows in block.queries.values())

    @property
    def annotations(self) -> list[dict[str, Any]]:
        """The annotation rows in the unshuffled order of the stream: the ground truth for metrics."""
        _, queries = self._tables()
        return [
            row_to_annotation(row)
            for block in self._blocks
            for group, rows in block.queries.items()
            for row in queries.read(group, self._annotation_columns).take(rows).to_pylist()
        ]

    def __iter__(self) -> Iterator[Item]:
        """Items as of `ItemBuilder.build`, in the epoch that is current when the iteration begins."""
        epoch = self.epoch
        blocks = list(self._blocks)
        rng = draw_generator(self.builder.seed, epoch, "", purpose="order")
        if self.shuffle:
            blocks = [blocks[index] for index in rng.permutation(len(blocks))]
        worker = get_worker_info()
        if worker is not None:
            blocks = blocks[worker.id :: worker.num_workers]
        columns = self.builder.query_columns
        videos, queries = self._tables()
        for block in blocks:
            videos_of_block = videos.read(block.videos, self.builder.video_columns)
            row_of = {vid: row for row, vid in enumerate(videos_of_block["vid"].to_pylist())}
            members = BatchReader.of_table(videos_of_block)
            table = pa.concat_tables([queries.read(part, columns).take(rows) for part, rows in block.queries.items()])
            reader = BatchReader.of_table(table)
            order = rng.permutation(len(table)) if self.shuffle else np.arange(len(table))
            for index in order:
                query = reader.row(int(index))
                yield self.builder.build(query, members.row(row_of[query["vid"]]), epoch)
