"""Token features of the sentences of a corpus, from every text encoder, to files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from videolights_hf.backbones.base import FeatureBackbone

from ..backbones.checkpoints import backbone_settings
from ..common.batches import run_within_memory
from ..common.ids import check_ids
from ..common.processes import Processes
from .progress import ExtractionBar
from .store import FeatureFolder, check_dtype, to_stored
from .summary import ExtractionSummary

SENTENCES_FILE = "queries.json"

# Batches are filled within a group, for the reason given in video.py.
SENTENCES_PER_GROUP = 512


def text_feature_folder(output_dir: str | os.PathLike, backbone: str) -> Path:
    """Where an encoder's text features are: `{output_dir}/{backbone}_text_features`."""
    return Path(output_dir, f"{backbone}_text_features")


def extract_text_features(
    queries: Mapping[int | str, str],
    output_dir: str | os.PathLike,
    backbones: Sequence[FeatureBackbone],
    *,
    dtype: str = "float16",
    checkpoints: Mapping[str, str] | None = None,
    processes: Processes | None = None,
    progress: bool = True,
) -> ExtractionSummary:
    """Compute the token features of sentences, written to `{output_dir}/{encoder}_text_features/qid{qid}.npz`.

    Each file has the key `last_hidden_state`, shape (tokens, width), and `pooler_output`, one vector, where the encoder
    has it (CLIP). Interruptions and several processes are as for
    `extract_video_features`.

    Args:
        queries: qid to sentence.
        output_dir: Where the folders of the encoders are made.
        backbones: The backbones; those without a text encoder are left out.
        dtype: Floating-point type of the files: `"float16"`, as published, or `"float32"`.
        checkpoints: Where the backbones came from, by name, to be kept with the features.
        processes: The processes that share the work; by default those that were launched.
        progress: Show a progress bar.

    Returns:
        How many sentences were done.

    Raises:
        SettingsMismatchError: A folder holds features of other settings.
        ValueError: No sentences, or an empty one; a qid that is no plain file name, or that a folder knows with
            another sentence; no backbone has a text encoder; a type that features are not stored in; features that
            are not finite numbers of that type.
        OSError: The disk is full, or the output cannot be written.
        torch.OutOfMemoryError: A single sentence does not fit into the device's memory.
    """
    check_dtype(dtype)
    check_ids(queries)
    queries = {str(qid): query for qid, query in queries.items()}
    if not queries:
        raise ValueError("There are no sentences to extract features of.")
    for qid, query in queries.items():
        if not isinstance(query, str) or not query.strip():
            raise ValueError(f"The sentence of query {qid!r} is {query!r}: describe the moment in words.")
    encoders = [backbone for backbone in backbones if backbone.text_dim is not None]
    if not encoders:
        raise ValueError(f"None of {', '.join(backbone.name for backbone in backbones)} has a text encoder.")
    processes = processes or Processes.current()
    folders = []
    for encoder in encoders:
        settings = {
            **backbone_settings(encoder, (checkpoints or {}).get(encoder.name)),
            "dtype": dtype,
            "width": encoder.text_dim,
        }
        folders.append(FeatureFolder(text_feature_folder(output_dir, encoder.name), settings, prefix="qid"))
    if processes.is_main:
        for folder in folders:
            folder.prepare()
            _keep_sentences(folder, queries)
    processes.wait()
    for folder in folders:
        folder.refresh()

    qids = sorted(queries)
    groups = [qids[first : first + SENTENCES_PER_GROUP] for first in range(0, len(qids), SENTENCES_PER_GROUP)]
    mine = processes.share(groups)
    total = sum(map(len, mine))
    skipped = sum(all(qid in folder for folder in folders) for group in mine for qid in group)
    show = progress and processes.is_main
    with ExtractionBar("Extracting text features", "sentence", "sentence", total, skipped, show) as bar:
        for group in mine:
            missing = {qid for qid in group if any(qid not in folder for folder in folders)}
            for encoder, folder in zip(encoders, folders, strict=True):
                if any(qid not in folder for qid in group):
                    _extract(encoder, folder, {qid: queries[qid] for qid in group}, dtype)
            bar.update(len(missing))
    counts = processes.gather([(total - skipped, skipped)])
    return ExtractionSummary(sum(done for done, _ in counts), sum(skipped for _, skipped in counts))


def _extract(encoder: FeatureBackbone, folder: FeatureFolder, queries: Mapping[str, str], dtype: str) -> None:
    states = run_within_memory(
        encoder, f"the backbone {encoder.name!r}", lambda: encoder.encode_text(list(queries.values()))
    )
    arrays = [{"last_hidden_state": features} for features in states]
    pooled = encoder.pool_text(states)
    if pooled is not None:
        for own, vector in zip(arrays, pooled, strict=True):
            own["pooler_output"] = vector
    for qid, own in zip(queries, arrays, strict=True):
        if qid not in folder:
            try:
                stored = {name: to_stored(array, dtype) for name, array in own.items()}
            except ValueError as error:
                raise ValueError(f"{encoder.name}, query {qid!r}: {error}") from error
            folder.write(qid, **stored)


def _keep_sentences(folder: FeatureFolder, queries: Mapping[str, str]) -> None:
    """Remember which sentence each qid stands for, and refuse one that it did not stand for before."""
    known = folder.read_json(SENTENCES_FILE) or {}
    for qid, query in queries.items():
        if known.get(qid, query) != query:
            raise ValueError(
                f"{folder.path} holds features of query {qid!r} as {known[qid]!r}; now it is {query!r}. Choose another "
                "folder, or give the query another qid."
            )
    if not queries.keys() <= known.keys():
        folder.write_json(SENTENCES_FILE, {**known, **queries})
