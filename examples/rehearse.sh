#!/usr/bin/env bash
# Every table of docs/reproducing.md at small size, on simulated features.
#
#   bash examples/rehearse.sh ANNOTATIONS_DIR OUTPUT_DIR [TABLE ...]
#
# ANNOTATIONS_DIR holds the annotation files of QVHighlights, Charades-STA and TVSum, in any subfolders. The numbers mean
# nothing: a few queries, one epoch, narrow models.
set -euo pipefail
annotations=$1 output=$2
shift 2
tables=("$@")
[ ${#tables[@]} -gt 0 ] || tables=(ii iii iv v vi vii viii figure-7-qvhighlights figure-7-charades-sta)
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$output/annotations"

# first FILE NUMBER: the first lines of an annotation file
first() {
    head -n "$2" "$(find -L "$annotations" -name "$1" | head -n 1)" > "$output/annotations/$1"
    echo "$output/annotations/$1"
}

# dataset NAME DATASET CLIP_LENGTH SPLIT=FILE ...: simulate features, and gather them
dataset() {
    local name=$1 kind=$2 clip_length=$3 features=$output/features/$1 files=() splits=()
    [ -d "$output/data/$name" ] && return
    for split in "${@:4}"; do
        files+=(--annotations "${split#*=}")
        splits+=(--annotations "$split")
    done
    python "$here/benchmarks/simulated_features.py" "$features" "${files[@]}" --clip-length "$clip_length" \
        --dataset "${kind/pretraining/qvhighlights}" --widths 6 4 5
    videolights prepare "$output/data/$name" --dataset "$kind" "${splits[@]}" \
        --video-features "slowfast=$features/slowfast_features" --video-features "clip=$features/clip_features" \
        --video-features "blip2=$features/blip_video_features" --video-features "i3d=$features/slowfast_features" \
        --text-features "clip=$features/clip_text_features" --text-features "blip2=$features/blip_text_features"
}

qvh_train=$(first highlight_train_release.jsonl 8)
dataset qvhighlights qvhighlights 2 "train=$qvh_train" "val=$(first highlight_val_release.jsonl 4)" \
    "test=$(first highlight_test_with_gt.jsonl 4)"
dataset charades_sta charades_sta 1 "train=$(first charades_sta_train_tvr_format.jsonl 8)" \
    "test=$(first charades_sta_test_tvr_format.jsonl 4)"
dataset tvsum tvsum 2 "train=$(first tvsum_train_release.jsonl 40)" "val=$(first tvsum_val_release.jsonl 10)"
dataset blip pretraining 2 "pretrain=$qvh_train"
dataset asr pretraining 2 "pretrain=$qvh_train"

for table in "${tables[@]}"; do
    data=()
    for name in qvhighlights charades_sta tvsum blip asr; do
        data+=(--data "$name=$output/data/$name")
    done
    videolights reproduce "$table" "${data[@]}" --output "$output/reproduction" \
        --set hidden_size=8 --set num_attention_heads=2 --set intermediate_size=8 \
        --set num_train_epochs=1 --set eval_epochs=1 --set report_to=none
done
