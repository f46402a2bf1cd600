"""Synthetic pretraining data: captions of videos as queries (Algorithm 1), and subtitles as queries.

Names are imported on first use.
"""

from .._lazy import lazy_exports

_EXPORTS = {
    "Captioner": "captioning",
    "CorpusForm": "intervals",
    "CorpusSummary": "corpus",
    "Cue": "subtitles",
    "FORMS": "intervals",
    "Interval": "intervals",
    "LeftOut": "exclusion",
    "MatchingScorer": "scoring",
    "SCORERS": "scoring",
    "Scorer": "scoring",
    "SimilarityScorer": "scoring",
    "SubtitleError": "subtitles",
    "SubtitleSummary": "asr",
    "annotated_durations": "asr",
    "candidate_videos": "exclusion",
    "convert_subtitles": "asr",
    "find_subtitles": "asr",
    "generate_corpus": "corpus",
    "get_form": "intervals",
    "get_scorer_class": "scoring",
    "leave_out": "exclusion",
    "merge_rolling": "subtitles",
    "paper_intervals": "intervals",
    "read_durations": "asr",
    "read_subtitles": "subtitles",
    "read_vids": "exclusion",
    "release_intervals": "intervals",
    "release_saliency": "intervals",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
