import inspect
import os
import subprocess
import sys

import pytest

from tests.support.training import SMALL, TEXT_WIDTHS, VIDEO_WIDTHS, make_tables
from videolights_hf.data import FeatureDataset, VideoLightsDataCollator
from videolights_hf.data.tables import VIDEOS
from videolights_hf.training import RunData, list_recipes, load_recipe, train_recipe
from videolights_hf.training.preparation import build_model, fit_config_to_data
from videolights_hf.training.recipes import save_recipe

RULES = {"qvhighlights": "graded", "charades_sta": "window", "tacos": "window", "tvsum": "annotators",
         "youtube_highlights": "binary"}  # fmt: skip
BRIEF = {
    "num_train_epochs": 1,
    "per_device_train_batch_size": 4,
    "use_cpu": True,
    "disable_tqdm": True,
    "report_to": "none",
}
FEATURES = {"videolights": ["slowfast", "clip"], "videolights-b": ["slowfast", "clip", "blip2"]}


def test_there_is_a_recipe_for_every_published_run():
    recipes = set(list_recipes())
    for dataset in ("qvhighlights", "charades_sta", "tvsum"):
        for variant in ("videolights", "videolights-b", "videolights-pt", "videolights-b-pt"):
            assert f"{dataset}/{variant}" in recipes
    assert {"tvsum/videolights-i3d", "tacos/videolights", "youtube_highlights/videolights"} <= recipes
    assert {"pretraining/blip", "pretraining/blip-b", "pretraining/asr", "pretraining/asr-b"} <= recipes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qvhighlights/videolights-b", (1e-4, 400, 32, 200, 0.2, 10, 1)),
        ("qvhighlights/audio", (1e-4, 400, 32, 200, 0.2, 0, 1)),
        ("ablations/release", (1e-4, 400, 32, 150, 0.2, 0, 0)),
        ("ablations/full", (1e-4, 400, 32, 150, 0.2, 10, 1)),
        ("ablations/full-pt", (1e-4, 400, 32, 200, 0.2, 10, 1)),
        ("ablations/features-sf-c-pt-asr", (1e-4, 400, 32, 200, 0.2, 10, 1)),
        ("ablations/charades-bi-cmf-5-layers", (1e-4, 100, 32, 100, 0.2, 10, 1)),
        ("tacos/videolights", (1e-4, 100, 32, 100, 0.3, 10, 1)),
        ("charades_sta/videolights", (1e-4, 100, 32, 100, 0.3, 10, 1)),
        ("tvsum/videolights", (1e-3, 2000, 4, 2000, 0.8, 1, 1)),
        ("tvsum/videolights-pt", (1e-3, 2000, 4, 2000, 0.8, 10, 1)),
        ("tvsum/videolights-i3d", (1e-3, 2000, 4, 2000, 0.2, 1, 1)),
        ("tvsum/train-sf-clip-blip", (1e-4, 2000, 4, 3000, 0.2, 0, 1)),
        ("pretraining/blip", (1e-4, 400, 256, 50, 0.01, 10, 1)),
        ("pretraining/blip-b", (1e-4, 400, 256, 50, 0.01, 10, 1)),
        ("pretraining/asr", (1e-4, 400, 256, 50, 0.2, 10, 1)),
    ],
)
def test_recipe_has_the_published_numbers(name, expected):
    recipe = load_recipe(name)
    args, config = recipe.training_arguments("out", use_cpu=True), recipe.model_config()
    found = (args.learning_rate, args.lr_drop, args.per_device_train_batch_size, args.num_train_epochs)
    found += (config.contrastive_align_loss_coef, config.hard_pos_neg_loss_coef, config.cosine_similarity_loss_coef)
    assert found == expected
    common = (args.weight_decay, args.max_grad_norm, args.lr_drop_factor, args.seed, config.dropout)
    assert common == (1e-4, 0.1, 0.1, 2018, 0.1)
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (256, 8, 1024)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qvhighlights/moment-detr", ("moment_detr", 1e-4, 400, 32, 200, 2018)),
        ("qvhighlights/qd-detr", ("qd_detr", 1e-4, 400, 32, 200, 2018)),
        ("qvhighlights/tr-detr", ("tr_detr", 1e-4, 400, 32, 200, 2017)),
        ("charades_sta/qd-detr", ("qd_detr", 1e-4, 100, 32, 100, 2018)),
        ("tvsum/tr-detr", ("tr_detr", 1e-3, 2000, 4, 2000, 2017)),
        ("pretraining/asr-moment-detr", ("moment_detr", 1e-4, 400, 256, 100, 2018)),
    ],
)
def test_recipe_of_another_detector_has_its_published_numbers(name, expected):
    recipe = load_recipe(name)
    args, config = recipe.training_arguments("out", use_cpu=True), recipe.model_config()
    found = (args.learning_rate, args.lr_drop, args.per_device_train_batch_size, args.num_train_epochs, args.seed)
    assert (config.model_type, *found) == expected
    assert args.metric_for_best_model == ("score" if recipe.data.by_domain else "MR-full-mAP")


def test_table_vii_has_every_detector_with_and_without_feature_refinement():
    found = {}
    for name in list_recipes():
        if name.startswith("ablations/table-vii/"):
            config = load_recipe(name).model_config()
            order = getattr(config, "refinement_order", "before")
            key = (config.model_type, config.use_feature_refinement, config.use_contrastive_alignment, order)
            found[key] = load_recipe(name).training
    refined = [("moment_detr", "before"), ("qd_detr", "before"), ("tr_detr", "before"), ("tr_detr", "instead")]
    expected = {(family, True, alignment, order) for family, order in refined for alignment in (True, False)}
    assert set(found) == expected | {(family, False, False, "before") for family, _ in refined}
    for (family, *_), training in found.items():
        assert training == load_recipe(f"qvhighlights/{family.replace('_', '-')}").training


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qvhighlights/videolights-b", (1, 3, 3, True)),
        ("qvhighlights/audio", (2, 2, 2, True)),
        ("charades_sta/videolights", (1, 3, 3, True)),
        ("ablations/charades-bi-cmf-5-layers", (5, 3, 3, True)),
        ("tvsum/videolights", (1, 3, 3, True)),
        ("tvsum/videolights-i3d", (2, 3, 3, False)),
        ("tvsum/train-sf-clip-blip", (2, 2, 2, False)),
    ],
)
def test_recipe_has_the_published_layers_and_task_coupled_loss(name, expected):
    config = load_recipe(name).model_config()
    layers = (config.num_fusion_layers, config.num_encoder_layers, config.num_decoder_layers)
    assert (*layers, config.use_moment_to_highlight) == expected


@pytest.mark.parametrize("dataset", RULES)
def test_there_is_a_recipe_for_clip_alone(dataset):
    config = load_recipe(f"{dataset}/clip").model_config()
    assert config.video_backbones == config.text_backbones == [["clip", 512]]


@pytest.mark.parametrize("name", ["tacos/videolights", "youtube_highlights/videolights-b", "qvhighlights/clip"])
def test_settings_that_no_script_has_are_marked(name):
    assert "our settings" in load_recipe(name).description


def test_evaluation_settings_follow_the_dataset():
    assert load_recipe("qvhighlights/videolights").training_arguments("out").eval_epochs == 5
    assert load_recipe("qvhighlights/videolights").training_arguments("out").moment_bounds == [0, 150]
    assert load_recipe("charades_sta/videolights").training_arguments("out").per_device_eval_batch_size == 4
    assert load_recipe("charades_sta/videolights").model_config().clip_length == 1
    assert load_recipe("tacos/videolights").training_arguments("out").moment_bounds is None
    assert load_recipe("tvsum/videolights").model_config().max_video_length == 1000
    # TACoS' longest video has 1,402 s.
    for name in ("tacos/videolights", "tacos/videolights-b", "tacos/clip"):
        tacos = load_recipe(name).model_config()
        assert tacos.max_video_length * tacos.clip_length >= 1402
    assert load_recipe("tvsum/videolights").training_arguments("out").early_stopping_patience == -1
    assert load_recipe("qvhighlights/videolights").training_arguments("out").early_stopping_patience == 201
    assert load_recipe("pretraining/blip").training_arguments("out").early_stopping_patience == 101


def test_ablations_switch_what_they_name():
    configs = {name: load_recipe(f"ablations/{name}").model_config() for name in (
        "no-fra", "uni-cmf", "no-new-losses", "only-hard-loss", "only-alignment-loss", "only-task-coupled-loss",
        "only-saliency-cosine-loss", "features-sf-b", "features-sf-c", "bi-cmf-3-layers", "attended-words", "baseline",
    )}  # fmt: skip
    assert not configs["no-fra"].use_feature_refinement
    assert configs["uni-cmf"].cross_modal_fusion == "uni"
    assert [name for name, _ in configs["features-sf-b"].video_backbones] == ["slowfast", "blip2"]
    assert [name for name, _ in configs["features-sf-c"].video_backbones] == ["slowfast", "clip"]
    assert configs["bi-cmf-3-layers"].num_fusion_layers == 3
    assert configs["attended-words"].word_correlation == "attended"
    assert not configs["baseline"].use_feature_refinement

    def switches(name):
        config = configs[name]
        return (
            bool(config.hard_pos_neg_loss_coef),
            config.use_moment_to_highlight,
            bool(config.cosine_similarity_loss_coef),
            config.use_contrastive_alignment,
        )

    assert switches("no-new-losses") == switches("baseline") == (False, False, False, False)
    assert switches("only-hard-loss") == (True, False, False, False)
    assert switches("only-task-coupled-loss") == (False, True, False, False)
    assert switches("only-saliency-cosine-loss") == (False, False, True, False)
    assert switches("only-alignment-loss") == (False, False, False, True)


def small(name):
    """A recipe cut down to a tiny model and one epoch, and tables for it."""
    recipe = load_recipe(name)
    sizes = {key: value for key, value in SMALL.items() if key not in recipe.model}
    recipe = load_recipe(
        name,
        [f"model.{key}={value}" for key, value in sizes.items()]
        + [f"training.{key}={value}" for key, value in BRIEF.items()],
    )
    splits = {recipe.data.train_split: 4, recipe.data.eval_split: 2}
    config = recipe.model_config()
    return recipe, make_tables(RULES[recipe.dataset], splits, config.clip_length, audio=bool(config.audio_dim))


def kinds_of_recipes():
    """One recipe of every dataset, detector and beginning."""
    found = {}
    for recipe in map(load_recipe, list_recipes()):
        found.setdefault((recipe.dataset, recipe.model_config().model_type, recipe.pretrained), recipe.name)
    return sorted(found.values())


@pytest.mark.parametrize("name", list_recipes())
def test_recipe_builds_a_model_that_learns_from_its_data(name):
    recipe, tables = small(name)
    config = fit_config_to_data(recipe, tables)
    model = build_model(config)
    dataset = FeatureDataset.from_config(tables, recipe.data.train_split, config, True, 0, None, recipe.data.windows)
    batch = VideoLightsDataCollator(recipe.data.text_dropout)([dataset[index] for index in range(4)])
    inputs = inspect.signature(model.forward).parameters
    output = model(**{key: value for key, value in batch.items() if key in inputs}, epoch=0)
    assert output.loss.isfinite()
    output.loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert sum(gradient.abs().sum() for gradient in gradients).isfinite()
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", kinds_of_recipes())
def test_recipe_trains_evaluates_and_saves(tmp_path, name):
    recipe, tables = small(name)
    init_from = None
    if recipe.pretrained:
        init_from = tmp_path / "pretrained"
        backbones = {
            "video_backbones": [[n, VIDEO_WIDTHS[n]] for n, _ in recipe.model_config().video_backbones],
            "text_backbones": [[n, TEXT_WIDTHS[n]] for n, _ in recipe.model_config().text_backbones],
        }
        build_model(recipe.model_config(**backbones, highlight_only=False)).save_pretrained(init_from)
    metrics = train_recipe(recipe, RunData(tables), tmp_path / "run", init_from=init_from)
    assert 0 <= metrics["eval_score"] <= 100
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert set(tables) == {VIDEOS, recipe.data.train_split, recipe.data.eval_split}


class TestLoading:
    def test_unknown_recipe_is_answered_with_the_nearest(self):
        with pytest.raises(ValueError, match="Did you mean 'qvhighlights/videolights-b'"):
            load_recipe("qvhighlight/videolight-b")

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("learning_rat=1", "Did you mean 'learning_rate'"),
            ("model.hidden_sizes=1", "Did you mean 'hidden_size'"),
            ("data.eval_splot=test", "Did you mean 'eval_split'"),
            ("models.hidden_size=1", "Did you mean 'model'"),
            ("hidden_size", "write key=value"),
            ("hidden_size=[1", "not YAML"),
            ("learning_rate=fast", "must be a number"),
            ("by_domain=3", "must be true or false"),
            ("output_dir=/tmp", "Unknown key 'output_dir'"),
        ],
    )
    def test_bad_override_is_refused(self, override, message):
        with pytest.raises(ValueError, match=message):
            load_recipe("qvhighlights/videolights", [override])

    def test_overrides_reach_their_section_with_their_type(self):
        recipe = load_recipe(
            "qvhighlights/videolights",
            ["learning_rate=2e-4", "model.hidden_size=64", "eval_split=test", "nms_threshold=null", "bf16=true"],
        )
        assert recipe.training["learning_rate"] == 2e-4
        assert recipe.training["nms_threshold"] is None
        assert recipe.training["bf16"] is True
        assert recipe.model["hidden_size"] == 64
        assert recipe.data.eval_split == "test"

    def test_no_key_belongs_to_two_sections(self):
        from videolights_hf.training.recipe_fields import SECTIONS, fields_of

        names = [name for section in SECTIONS for name in fields_of(section)]
        assert len(names) == len(set(names))

    def test_own_file_extends_a_packaged_recipe(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("extends: tvsum/videolights\ndescription: Mine.\ntraining: {learning_rate: 5e-4}\n")
        recipe = load_recipe(path)
        assert recipe.dataset == "tvsum"
        assert recipe.training["learning_rate"] == 5e-4
        assert recipe.training["num_train_epochs"] == 2000

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("extnds: qvhighlights/videolights", "Did you mean 'extends'"),
            ("training: {learning_rat: 1}", "Did you mean 'learning_rate'"),
            ("training: {learning_rate: fast}", "must be a number"),
            ("training: 3", "key: value"),
            ("- a list", "not a recipe"),
            ("extends: nothing/known", "Unknown recipe"),
            ("extends: 5", "extends must be text, got 5"),
            ("pretrained: 1", "pretrained must be true or false"),
            ("a: b: c", "not YAML"),
            ("x: !!python/object/apply:os.getcwd []", "not YAML"),
            ("model: {cross_modal_fusion: both}", "must be 'bi' or 'uni' or 'none'"),
            ("training: {push_to_hub: true}", "sends data to another machine"),
            ("training: {hub_model_id: a/b}", "sends data to another machine"),
            ("training: {report_to: wandb}", "sends data to another machine"),
        ],
    )
    def test_bad_file_is_refused_by_name(self, tmp_path, text, message):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_recipe(path)

    def test_files_are_utf_8_in_every_locale(self, tmp_path, monkeypatch):
        path = tmp_path / "mine.yaml"
        path.write_bytes("extends: tvsum/videolights\ndescription: Größe 5 → 六\n".encode())
        command = [sys.executable, "-c", f"from videolights_hf.training import load_recipe; "
                   f"print(ascii(load_recipe({str(path)!r}).description))"]  # fmt: skip
        environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert shown.strip() == ascii("Größe 5 → 六")
        path.write_bytes(b"description: Gr\xf6\xdfe\n")
        with pytest.raises(ValueError, match="not UTF-8 text"):
            load_recipe(path)

    def test_user_may_push_and_the_saved_recipe_does_not(self, tmp_path):
        recipe = load_recipe("qvhighlights/videolights", ["push_to_hub=true", "hub_model_id=me/mine"])
        assert recipe.training["push_to_hub"] is True
        save_recipe(recipe, tmp_path / "recipe.yaml")
        assert not {"push_to_hub", "hub_model_id"} & load_recipe(tmp_path / "recipe.yaml").training.keys()

    def test_no_evaluation_is_a_strategy_and_not_a_switch(self):
        assert load_recipe("qvhighlights/videolights", ["eval_strategy=no"]).training["eval_strategy"] == "no"

    def test_values_that_the_model_or_the_arguments_refuse_end_in_a_value_error(self, tmp_path):
        with pytest.raises(ValueError, match=r"training: .*foo"):
            load_recipe("qvhighlights/videolights", ["accelerator_config={foo: 1}"]).training_arguments(tmp_path)
        with pytest.raises(ValueError, match="model: "):
            load_recipe("qvhighlights/videolights", ["video_backbones=[3]"]).model_config()
        with pytest.raises(ValueError, match="hidden_size"):
            load_recipe("qvhighlights/videolights", ["hidden_size=0"]).model_config()
        with pytest.raises(ValueError, match="must be a number or null"):
            load_recipe("qvhighlights/videolights", ["ema_decay=x"])
        with pytest.raises(ValueError, match="a finite number"):
            load_recipe("qvhighlights/videolights", ["learning_rate=.nan"])

    def test_missing_file_and_circle_are_refused(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
            load_recipe(tmp_path / "nowhere.yaml")
        path = tmp_path / "circle.yaml"
        path.write_text(f"extends: {path}\n")
        with pytest.raises(ValueError, match="circle"):
            load_recipe(path)
