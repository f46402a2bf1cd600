"""Token features of the sentences of a corpus, from every text encoder, to files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from ..backbones.base import FeatureBackbone
from ..backbones.checkpoints import backbone_settings
from ..common.batches import iterate_batches, run_within_memory
from ..common.files import read_json_object, write_json
from ..common.ids import check_ids
from ..common.processes import locked_by_main
from .features import text_feature_folder
from .progress import ExtractionBar
from .settings import ExtractionSettings
from .store import FeatureFolder, to_stored
from .summary import ExtractionSummary

SENTENCES_FILE = "queries.json"

# Batches are filled within a group of consecutive sentences, for the reason given in `VideoGroups`.
SENTENCES_PER_GROUP = 512


def extract_text_features(
    queries: Mapping[int | str, str],
    output_dir: str | os.PathLike,
    backbones: Sequence[FeatureBackbone],
    settings: ExtractionSettings | None = None,
) -> ExtractionSummary:
    """Compute the token features of sentences, written to `{output_dir}/{encoder}_text_features/qid{qid}.npz`.

    Each file has the key `last_hidden_state`, shape (tokens, width), and `pooler_output`, one vector, where the encoder
    has it (CLIP). Interruptions and several processes are as for `extract_video_features`.

    Args:
        queries: qid to sentence.
        output_dir: Where the folders of the encoders are made.
        backbones: The backbones; those without a text encoder are left out.
        settings: How features are extracted; clip length and threads do not matter to sentences.

    Returns:
        How many sentences were done.

    Raises:
        SettingsMismatchError: A folder holds features made with other settings.
        ValueError: No sentences, or an empty one; a qid that cannot be a file name, or that a folder knows with another
            sentence; no backbone has a text encoder; features that the type cannot hold.
        OSError: The disk is full, the output cannot be written, or another run writes to it.
        torch.OutOfMemoryError: A single sentence does not fit into the device's memory.
    """
    settings = settings or ExtractionSettings()
    sentences = _checked(queries)
    encoders = [backbone for backbone in backbones if backbone.text_dim is not None]
    if not encoders:
        raise ValueError(f"None of {', '.join(backbone.name for backbone in backbones)} has a text encoder.")
    processes = settings.connect()
    folders = [_folder(encoder, output_dir, settings) for encoder in encoders]
    with locked_by_main(output_dir, processes):
        return _run(encoders, folders, sentences, dataclasses.replace(settings, processes=processes))


def _run(
    encoders: Sequence[FeatureBackbone],
    folders: Sequence[FeatureFolder],
    sentences: Mapping[str, str],
    settings: ExtractionSettings,
) -> ExtractionSummary:
    processes = settings.connect()
    if processes.is_main:
        for folder in folders:
            folder.prepare()
            _keep_sentences(folder, sentences)
    processes.wait()
    for folder in folders:
        folder.refresh()

    mine = processes.share(list(iterate_batches(sorted(sentences), SENTENCES_PER_GROUP)))
    total = sum(map(len, mine))
    skipped = sum(all(qid in folder for folder in folders) for group in mine for qid in group)
    show = settings.progress and processes.is_main
    with ExtractionBar("Extracting text features", "sentence", "sentence", total, skipped, show) as bar:
        for group in mine:
            missing = {qid for qid in group if any(qid not in folder for folder in folders)}
            for encoder, folder in zip(encoders, folders, strict=True):
                if any(qid not in folder for qid in group):
                    _extract(encoder, folder, {qid: sentences[qid] for qid in group}, settings.dtype)
            bar.update(len(missing))
    counts = processes.gather([(total - skipped, skipped)])
    if processes.is_main:
        for folder in folders:
            folder.refresh()
            folder.check_complete(sentences)
    return ExtractionSummary(sum(done for done, _ in counts), sum(skipped for _, skipped in counts))


def _checked(queries: Mapping[int | str, str]) -> dict[str, str]:
    check_ids(queries)
    if not queries:
        raise ValueError("There are no sentences to extract features of.")
    for qid, query in queries.items():
        if not isinstance(query, str) or not query.strip():
            raise ValueError(f"The sentence of query {str(qid)!r} is {query!r}: describe the moment in words.")
    return {str(qid): query for qid, query in queries.items()}


def _folder(encoder: FeatureBackbone, output_dir: str | os.PathLike, settings: ExtractionSettings) -> FeatureFolder:
    kept = {
        **backbone_settings(encoder, settings.checkpoints.get(encoder.name)),
        "dtype": settings.dtype,
        "width": encoder.text_dim,
    }
    return FeatureFolder(text_feature_folder(output_dir, encoder.name), kept, prefix="qid")


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
    path = folder.path / SENTENCES_FILE
    known = read_json_object(path) or {}
    for qid, query in queries.items():
        if known.get(qid, query) != query:
            raise ValueError(
                f"{folder.path} holds features of query {qid!r} as {known[qid]!r}; now it is {query!r}. Choose another "
                "folder, or give the query another qid."
            )
    if not queries.keys() <= known.keys():
        write_json(path, {**known, **queries})
