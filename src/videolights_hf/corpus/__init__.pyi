from .asr import (
    AsrCorpus,
    SubtitleSummary,
    annotated_durations,
    convert_subtitles,
    find_subtitles,
    generate_asr_corpus,
    read_durations,
)
from .captioning import Captioner
from .corpus import CorpusSummary, generate_corpus
from .exclusion import LeftOut, candidate_videos, leave_out, read_vids
from .intervals import FORMS, CorpusForm, Interval, get_form, paper_intervals, release_intervals, release_saliency
from .pretraining import CorpusModels, PretrainingData, PretrainingSources, generate_pretraining_data
from .scoring import SCORERS, MatchingScorer, Scorer, SimilarityScorer, get_scorer_class
from .settings import CorpusSettings
from .subtitles import Cue, SubtitleError, merge_rolling, read_subtitles

__all__ = [
    "FORMS",
    "SCORERS",
    "AsrCorpus",
    "Captioner",
    "CorpusForm",
    "CorpusModels",
    "CorpusSettings",
    "CorpusSummary",
    "Cue",
    "Interval",
    "LeftOut",
    "MatchingScorer",
    "PretrainingData",
    "PretrainingSources",
    "Scorer",
    "SimilarityScorer",
    "SubtitleError",
    "SubtitleSummary",
    "annotated_durations",
    "candidate_videos",
    "convert_subtitles",
    "find_subtitles",
    "generate_asr_corpus",
    "generate_corpus",
    "generate_pretraining_data",
    "get_form",
    "get_scorer_class",
    "leave_out",
    "merge_rolling",
    "paper_intervals",
    "read_durations",
    "read_subtitles",
    "read_vids",
    "release_intervals",
    "release_saliency",
]
