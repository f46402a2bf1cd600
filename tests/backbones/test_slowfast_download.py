"""The default SlowFast: downloaded once, checked, converted, and kept in the cache."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support.file_server import FileServer
from tests.support.tiny_backbones import make_tiny_slowfast, tiny_slowfast_config
from videolights_hf import SlowFastBackbone, VideoLightsProcessor
from videolights_hf.backbones import complete_checkpoints, load_backbones, slowfast_weights
from videolights_hf.backbones.slowfast_weights import PUBLIC_WEIGHTS, slowfast_tensor_names
from videolights_hf.common import downloads

WIDTHS = ([["slowfast", 80]], [["clip", 32]])


@pytest.fixture
def slowfast():
    return make_tiny_slowfast()


@pytest.fixture
def server(slowfast, tmp_path, monkeypatch):
    """The public weights: a tiny file on this machine."""
    state = slowfast.model.state_dict()
    names = slowfast_tensor_names(slowfast.model.config, "caffe2")
    content = pickle.dumps({"blobs": {source: state[name].numpy() for name, source in names.items()}}, 2)
    with FileServer(content) as server:
        file = server.file(len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(slowfast_weights, "PUBLIC_WEIGHTS", file)
        monkeypatch.setattr(SlowFastBackbone, "default_checkpoint", file.url)
        monkeypatch.setattr(slowfast_weights, "VideoLightsSlowFastConfig", tiny_slowfast_config)
        monkeypatch.setattr(downloads.constants, "HF_HOME", str(tmp_path / "cache"))
        yield server


def gets(server):
    return [method for method, _ in server.requests].count("GET")


def test_the_published_file_is_the_default():
    assert complete_checkpoints(["slowfast"]) == {"slowfast": PUBLIC_WEIGHTS.url}
    assert VideoLightsProcessor(*WIDTHS).backbone_checkpoints["slowfast"] == PUBLIC_WEIGHTS.url
    assert PUBLIC_WEIGHTS.name == "SLOWFAST_8x8_R50.pkl"


def test_it_is_downloaded_and_converted_once(server, slowfast, tmp_path, monkeypatch, caplog):
    (loaded,) = load_backbones(complete_checkpoints(["slowfast"]))
    frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(loaded.encode_frames(frames), slowfast.encode_frames(frames), rtol=1e-5, atol=1e-5)
    (told,) = [record.getMessage() for record in caplog.records if "Downloading" in record.getMessage()]
    assert told.startswith("Downloading SlowFast 8x8 R50 (")
    # Offline, the cache serves.
    monkeypatch.setattr(downloads.constants, "HF_HUB_OFFLINE", True)
    load_backbones(complete_checkpoints(["slowfast"]))
    assert gets(server) == 1
    assert not list((tmp_path / "cache").rglob("*.pkl*"))


def test_a_broken_download_goes_on_at_the_next_call(server):
    server.breaks_after = 0
    with pytest.raises(OSError, match=r"'slowfast' cannot be loaded from .*broke off"):
        load_backbones(complete_checkpoints(["slowfast"]))
    server.breaks_after = None
    load_backbones(complete_checkpoints(["slowfast"]))


def test_another_file_is_refused_before_it_is_read(server, tmp_path, monkeypatch):
    monkeypatch.setattr(slowfast_weights, "load_numpy_pickle", lambda _: pytest.fail("it was read"))
    server.content = server.content[:-1] + b"?"
    with pytest.raises(OSError, match="is not the file that is expected"):
        SlowFastBackbone.from_pretrained(SlowFastBackbone.default_checkpoint)


def test_threads_that_ask_at_the_same_time_share_a_download(server):
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: slowfast_weights.fetch_public_weights(), range(4)))
    assert len(folders) == 1
    assert gets(server) == 1


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_with_an_empty_cache_says_what_to_do_and_asks_nobody(server, monkeypatch, how):
    monkeypatch.setattr(downloads.constants, "HF_HUB_OFFLINE", how == "environment")
    arguments = {"local_files_only": True} if how == "argument" else {}
    for call in (SlowFastBackbone.find, SlowFastBackbone.from_pretrained):
        with pytest.raises(FileNotFoundError, match=r"not in the cache .*--backbone slowfast=SLOWFAST_8x8_R50\.pkl"):
            call(SlowFastBackbone.default_checkpoint, **arguments)
    assert not server.requests


def test_an_unreachable_default_is_found_before_anything_is_loaded(server):
    server.status = 404
    with pytest.raises(OSError, match="cannot be reached"):
        VideoLightsProcessor(*WIDTHS).find_backbones(text=False)


def test_a_cache_of_the_users_choice_is_used(server, tmp_path):
    folder = slowfast_weights.fetch_public_weights(cache_dir=tmp_path / "mine")
    assert folder.is_relative_to(tmp_path / "mine")


def test_a_weight_file_on_disk_is_a_checkpoint_too(server, slowfast, tmp_path):
    (tmp_path / "weights.pkl").write_bytes(server.content)
    (loaded,) = load_backbones(complete_checkpoints(["slowfast"], {"slowfast": str(tmp_path / "weights.pkl")}))
    assert loaded.video_dim == slowfast.video_dim
    assert not server.requests


def test_other_addresses_are_refused(server):
    with pytest.raises(ValueError, match=r"downloaded from .* alone, not from http://elsewhere"):
        SlowFastBackbone.from_pretrained("http://elsewhere/x.pkl")
