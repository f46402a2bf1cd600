from .asr import SubtitleSummary, annotated_durations, convert_subtitles, find_subtitles, read_durations
from .captioning import Captioner
from .corpus import CorpusSummary, generate_corpus
from .exclusion import LeftOut, candidate_videos, leave_out, read_vids
from .intervals import FORMS, CorpusForm, Interval, get_form, paper_intervals, release_intervals, release_saliency
from .scoring import SCORERS, MatchingScorer, Scorer, SimilarityScorer, get_scorer_class
from .subtitles import Cue, SubtitleError, merge_rolling, read_subtitles

__all__ = [
    "FORMS",
    "SCORERS",
    "Captioner",
    "CorpusForm",
    "CorpusSummary",
    "Cue",
    "Interval",
    "LeftOut",
    "MatchingScorer",
    "Scorer",
    "SimilarityScorer",
    "SubtitleError",
    "SubtitleSummary",
    "annotated_durations",
    "candidate_videos",
    "convert_subtitles",
    "find_subtitles",
    "generate_corpus",
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
