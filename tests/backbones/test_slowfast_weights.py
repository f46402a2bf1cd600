import io
import os
import pickle
import pickletools
import struct
import subprocess
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.tiny_backbones import make_tiny_slowfast, tiny_slowfast_config
from videolights_hf import SlowFastBackbone, VideoLightsSlowFastConfig, convert_slowfast_checkpoint
from videolights_hf.backbones import slowfast_configuration
from videolights_hf.backbones.slowfast_weights import (
    convert_slowfast_state_dict,
    read_slowfast_checkpoint,
    slowfast_tensor_names,
)
from videolights_hf.cli.main import app
from videolights_hf.common.safe_loading import load_numpy_pickle, load_torch_file

CLASSIFIER = {"pred_w": (400, 80), "pred_b": (400,)}


@pytest.fixture(scope="module")
def slowfast():
    return make_tiny_slowfast()


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (2 * 8, 32, 32, 3), dtype=np.uint8)


def weights_of(backbone, layout) -> dict[str, np.ndarray]:
    """The weights under the names of a public file, with what such a file holds besides."""
    state_dict = backbone.model.state_dict()
    names = slowfast_tensor_names(backbone.model.config, layout)
    weights = {source: state_dict[name].numpy() for name, source in names.items()}
    if layout == "caffe2":
        weights |= {name: np.zeros(shape, np.float32) for name, shape in CLASSIFIER.items()}
        weights |= {"conv1_w_momentum": weights["conv1_w"], "lr": np.float32(0.1), "model_iter": 7}
    else:
        weights |= {"blocks.6.proj.weight": np.zeros((400, 80)), "blocks.6.proj.bias": np.zeros(400)}
        weights |= {
            name.replace("running_mean", "num_batches_tracked"): np.int64(5)
            for name in names.values()
            if name.endswith("running_mean")
        }
    return weights


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 did: strings of bytes, and NumPy's modules by their former names."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(content) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(content)
    data = file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert b"numpy._core" not in data
    assert "UNICODE" not in {opcode.name for opcode, _, _ in pickletools.genops(data)}
    return data


class Run:
    """What a malicious pickle does when it is loaded."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


class TestNames:
    """The names of the public files, spelled out; the rest follow the same rules."""

    @pytest.mark.parametrize(
        ("ours", "caffe2", "pytorchvideo"),
        [
            ("slow_stem.embedder.convolution.weight", "conv1_w", "blocks.0.multipathway_blocks.0.conv.weight"),
            (
                "fast_stem.embedder.normalization.running_var",
                "t_res_conv1_bn_riv",
                "blocks.0.multipathway_blocks.1.norm.running_var",
            ),
            (
                "fusions.0.convolution.weight",
                "t_pool1_subsample_w",
                "blocks.0.multipathway_fusion.conv_fast_to_slow.weight",
            ),
            (
                "fusions.1.convolution.weight",
                "t_res2_2_branch2c_bn_subsample_w",
                "blocks.1.multipathway_fusion.conv_fast_to_slow.weight",
            ),
            (
                "fusions.3.normalization.running_mean",
                "t_res4_5_branch2c_bn_subsample_bn_rm",
                "blocks.3.multipathway_fusion.norm.running_mean",
            ),
            (
                "slow_stages.0.0.shortcut.convolution.weight",
                "res2_0_branch1_w",
                "blocks.1.multipathway_blocks.0.res_blocks.0.branch1_conv.weight",
            ),
            (
                "fast_stages.1.0.shortcut.normalization.bias",
                "t_res3_0_branch1_bn_b",
                "blocks.2.multipathway_blocks.1.res_blocks.0.branch1_norm.bias",
            ),
            (
                "slow_stages.2.5.reduce.convolution.weight",
                "res4_5_branch2a_w",
                "blocks.3.multipathway_blocks.0.res_blocks.5.branch2.conv_a.weight",
            ),
            (
                "fast_stages.3.2.spatial.normalization.weight",
                "t_res5_2_branch2b_bn_s",
                "blocks.4.multipathway_blocks.1.res_blocks.2.branch2.norm_b.weight",
            ),
            (
                "slow_stages.3.0.expand.normalization.running_var",
                "res5_0_branch2c_bn_riv",
                "blocks.4.multipathway_blocks.0.res_blocks.0.branch2.norm_c.running_var",
            ),
        ],
    )
    def test_both_files_name_each_tensor_as_published(self, ours, caffe2, pytorchvideo):
        config = VideoLightsSlowFastConfig()
        assert slowfast_tensor_names(config, "caffe2")[ours] == caffe2
        assert slowfast_tensor_names(config, "pytorchvideo")[ours] == pytorchvideo

    @pytest.mark.parametrize("layout", ["caffe2", "pytorchvideo"])
    def test_every_tensor_has_a_name_of_its_own(self, layout, slowfast):
        names = slowfast_tensor_names(slowfast.model.config, layout)
        assert names.keys() == slowfast.model.state_dict().keys()
        assert len(set(names.values())) == len(names)


class TestConversion:
    @pytest.mark.parametrize("protocol", ["python2", 2, 4, 5])
    def test_a_caffe2_pickle_becomes_a_folder_with_equal_features(self, slowfast, frames, tmp_path, protocol):
        content = {"blobs": weights_of(slowfast, "caffe2"), "cfg": "MODEL: x"}
        data = python2_pickle(content) if protocol == "python2" else pickle.dumps(content, protocol)
        (tmp_path / "slowfast.pkl").write_bytes(data)
        left_out = convert_slowfast_checkpoint(tmp_path / "slowfast.pkl", tmp_path / "out", slowfast.model.config)
        assert left_out == ["conv1_w_momentum", "lr", "model_iter", "pred_b", "pred_w"]
        loaded = SlowFastBackbone.from_pretrained(tmp_path / "out")
        np.testing.assert_allclose(loaded.encode_frames(frames), slowfast.encode_frames(frames), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
    def test_a_pytorchvideo_file_becomes_a_folder_with_equal_features(self, slowfast, frames, tmp_path, is_zip):
        state = OrderedDict((k, torch.tensor(v)) for k, v in weights_of(slowfast, "pytorchvideo").items())
        path = tmp_path / "slowfast.pyth"
        torch.save({"model_state": state, "epoch": 3}, path, _use_new_zipfile_serialization=is_zip)
        left_out = convert_slowfast_checkpoint(path, tmp_path / "out", slowfast.model.config)
        assert {"blocks.6.proj.bias", "blocks.6.proj.weight"} < set(left_out)
        assert all("num_batches_tracked" in name for name in left_out if "proj" not in name)
        loaded = SlowFastBackbone.from_pretrained(tmp_path / "out")
        np.testing.assert_allclose(loaded.encode_frames(frames), slowfast.encode_frames(frames), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("layout", ["caffe2", "pytorchvideo"])
    def test_every_tensor_of_the_file_is_used_or_named(self, slowfast, layout):
        weights = weights_of(slowfast, layout)
        state_dict, left_out = convert_slowfast_state_dict(weights, slowfast.model.config, layout)
        assert len(state_dict) + len(left_out) == len(weights)
        for name, tensor in slowfast.model.state_dict().items():
            assert torch.equal(state_dict[name], tensor)

    def test_tensors_that_are_missing_unknown_or_misshapen_are_named(self, slowfast):
        weights = weights_of(slowfast, "caffe2")
        weights["conv1_w"] = weights["conv1_w"][:4]
        del weights["t_conv1_w"]
        weights["nonlocal_conv3_1_theta_w"] = np.zeros(3, np.float32)
        with pytest.raises(ValueError, match="do not fit this SlowFast") as error:
            convert_slowfast_state_dict(weights, slowfast.model.config, "caffe2")
        for part in (
            "unknown nonlocal_conv3_1_theta_w",
            "conv1_w has shape (4, 3, 1, 7, 7) instead of (8, 3, 1, 7, 7)",
            "missing t_conv1_w",
        ):
            assert part in str(error.value)

    def test_a_file_for_another_depth_is_refused_and_nothing_is_written(self, slowfast, tmp_path):
        (tmp_path / "slowfast.pkl").write_bytes(pickle.dumps({"blobs": weights_of(slowfast, "caffe2")}))
        with pytest.raises(ValueError, match=r"do not fit this SlowFast: .*; and \d+ more"):
            convert_slowfast_checkpoint(
                tmp_path / "slowfast.pkl", tmp_path / "out", tiny_slowfast_config(depths=[1, 2, 3, 1])
            )
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("content", [{"weights": {}}, [1, 2], {"blobs": [1]}])
    def test_a_pickle_of_something_else_is_refused(self, tmp_path, content):
        (tmp_path / "other.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match="holds no `blobs`"):
            read_slowfast_checkpoint(tmp_path / "other.pkl")

    def test_a_torch_file_of_something_else_is_refused(self, tmp_path):
        torch.save({"model": {}}, tmp_path / "other.pyth")
        with pytest.raises(ValueError, match="holds no `model_state`"):
            read_slowfast_checkpoint(tmp_path / "other.pyth")

    def test_a_missing_file_is_an_error(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no checkpoint file"):
            convert_slowfast_checkpoint(tmp_path / "nothing.pkl", tmp_path / "out")


def test_what_python_2_itself_wrote_is_read():
    """The file was written by Python 2.7 and NumPy 1.16, whose strings are bytes."""
    content = load_numpy_pickle(Path(__file__).parents[1] / "fixtures" / "python2_arrays.pkl")
    rng = np.random.RandomState(0)
    blobs = content["blobs"]
    np.testing.assert_array_equal(blobs["conv1_w"], rng.randn(4, 3, 1, 2, 2).astype(np.float32))
    np.testing.assert_array_equal(blobs["b"], rng.randn(3, 4).astype(np.float32))
    assert (blobs["lr"], blobs["lr_array"], blobs["model_iter"]) == (np.float32(0.1), 0.5, 9)
    assert content["cfg"] == "a: b"


class TestSafety:
    @pytest.mark.parametrize(
        ("function", "arguments", "name"),
        [
            (os.system, ("touch harm",), r"(posix|nt)\.system"),
            (eval, ("open('harm', 'w')",), r"builtin\w+\.eval"),
            (subprocess.Popen, (["touch", "harm"],), r"\.Popen"),
            (np.load, ("harm",), r"numpy.*load"),
            (getattr, ("text", "upper"), r"builtin\w+\.getattr"),
        ],
        ids=["system", "eval", "popen", "numpy-load", "getattr"],
    )
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_a_malicious_pickle_is_refused_by_name_and_not_run(
        self, tmp_path, monkeypatch, function, arguments, name, protocol
    ):
        monkeypatch.chdir(tmp_path)
        content = {"blobs": {"conv1_w": np.zeros(3, np.float32), "harm": Run(function, *arguments)}}
        (tmp_path / "bad.pkl").write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(ValueError, match=rf"Refused to load .*bad\.pkl: it holds .*{name}.*Nothing in it was run"):
            convert_slowfast_checkpoint("bad.pkl", "out")
        assert sorted(os.listdir(tmp_path)) == ["bad.pkl"]

    def test_codecs_by_name_are_refused(self, tmp_path):
        import _codecs

        (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Run(_codecs.encode, "harm", "rot13")))
        with pytest.raises(ValueError, match="text in the encoding 'rot13'"):
            load_numpy_pickle(tmp_path / "bad.pkl")

    def test_a_pickle_cannot_change_what_it_is_rebuilt_with(self, tmp_path):
        # Protocol 2: push numpy's _frombuffer, then set an attribute of it.
        data = b"\x80\x02cnumpy.core.numeric\n_frombuffer\nN}X\x07\x00\x00\x00changedK\x01s\x86b."
        (tmp_path / "bad.pkl").write_bytes(data)
        load_numpy_pickle(tmp_path / "bad.pkl")
        from numpy._core import numeric

        assert not hasattr(numeric._frombuffer, "changed")

    def test_objects_inside_arrays_are_refused(self, tmp_path):
        array = np.array([Run(os.system, "touch harm")], dtype=object)
        (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"blobs": {"conv1_w": array}}))
        with pytest.raises(ValueError, match=r"Refused to load .*: it holds an array of the type 'O8'"):
            load_numpy_pickle(tmp_path / "bad.pkl")

    def test_addresses_and_altered_types_reach_no_memory(self, tmp_path):
        array, dtype = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"
        # An array of objects whose bytes are addresses.
        address = struct.pack("<Q", 0x0000_4141_4141_4140) * 4
        objects = b"\x80\x03" + array + b"((K\x04t" + dtype + b"(X\x01\x00\x00\x00OtRC\x20" + address + b"tR."
        # A void type that BUILD gives a field beyond the array.
        field = b"at}X\x01\x00\x00\x00a(" + dtype + b"(X\x02\x00\x00\x00f4tRM\x00\x01tsK\x04K\x01K\x00tb"
        altered = (
            b"\x80\x03" + dtype + b"(X\x02\x00\x00\x00V4tRq\x01(K\x03X\x01\x00\x00\x00|N(X\x01\x00\x00\x00" + field
        )
        altered += b"0}X\x05\x00\x00\x00blobs}X\x01\x00\x00\x00x" + array + b"((K\x04th\x01tRss."
        for content in (objects, altered):
            (tmp_path / "bad.pkl").write_bytes(content)
            with pytest.raises(ValueError, match=r"bad\.pkl.*an array of the type '(O|V4)'"):
                read_slowfast_checkpoint(tmp_path / "bad.pkl")

    @pytest.mark.parametrize(
        "state",
        [
            (3, "<", None, ("a",), {"a": (None, 0)}, 4, 1, 0),
            (3, "<", (None, (9,)), None, None, -1, -1, 0),
            (3, "<", None, None, None, 4096, -1, 0),
        ],
    )
    def test_a_type_is_not_altered_afterwards(self, tmp_path, state):
        class Altered:
            def __reduce__(self):
                return np.dtype, ("f4",), state

        (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Altered(), 2))
        with pytest.raises(ValueError, match="Refused to load"):
            load_numpy_pickle(tmp_path / "bad.pkl")

    @pytest.mark.parametrize("shape", [(5,), (-1,), (2**40,), (2.0, 2), "44"])
    def test_a_shape_needs_exactly_the_bytes_that_are_there(self, tmp_path, shape):
        whole = np.zeros(4, np.float32).__reduce__()

        class Declared:
            def __reduce__(self):
                return whole[0], whole[1], (1, shape, np.dtype("f4"), False, bytes(16))

        (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Declared(), 2))
        with pytest.raises(ValueError, match="an array of the shape"):
            load_numpy_pickle(tmp_path / "bad.pkl")

    @pytest.mark.parametrize(
        "content", [b"\x80\x02}r\xff\xff\xff\x3f.", b"\x80\x04\x95\xff\xff\xff\xff\xff\x00\x00\x00}."]
    )
    def test_few_bytes_take_no_memory(self, tmp_path, content):
        (tmp_path / "memo.pkl").write_bytes(content)
        with pytest.raises(ValueError, match=r"in a file of \d+ bytes"):
            load_numpy_pickle(tmp_path / "memo.pkl")

    def test_the_limit_on_a_files_size_is_named_and_can_be_raised(self, tmp_path):
        (tmp_path / "large.pkl").write_bytes(pickle.dumps({"x": np.arange(100.0)}))
        with pytest.raises(ValueError, match=r"bytes, more than the limit of 100"):
            load_numpy_pickle(tmp_path / "large.pkl", max_bytes=100)
        assert load_numpy_pickle(tmp_path / "large.pkl", max_bytes=2000)["x"].tolist() == list(range(100))

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
    def test_arrays_come_back_in_every_protocol(self, tmp_path, protocol):
        content = {
            "c": np.arange(6, dtype="<f4").reshape(2, 3),
            "f": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
            "empty": np.zeros((0, 3)),
            "list": [np.float64(2.5), (np.bool_(True), "text")],
            "bytes": np.array([b"ab", b"c"]),
        }
        (tmp_path / "arrays.pkl").write_bytes(pickle.dumps(content, protocol))
        found = load_numpy_pickle(tmp_path / "arrays.pkl")
        for name in ("c", "f", "empty", "bytes"):
            np.testing.assert_array_equal(found[name], content[name])
            assert found[name].dtype == content[name].dtype
        assert found["list"] == content["list"]

    def test_a_malicious_torch_file_is_refused_by_name_and_not_run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        torch.save({"model_state": Run(os.system, "touch harm")}, "bad.pyth")
        with pytest.raises(ValueError, match=r"Refused to load bad\.pyth: it holds .*system"):
            convert_slowfast_checkpoint("bad.pyth", "out")
        assert os.listdir(tmp_path) == ["bad.pyth"]

    @pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
    def test_a_pickle_that_is_cut_short_is_refused(self, slowfast, tmp_path, keep):
        data = pickle.dumps({"blobs": weights_of(slowfast, "caffe2")}, 2)
        length = int(keep * len(data)) if isinstance(keep, float) else keep
        (tmp_path / "short.pkl").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"short\.pkl is damaged, cut short, or not a pickle"):
            convert_slowfast_checkpoint(tmp_path / "short.pkl", tmp_path / "out")

    def test_a_torch_file_that_is_cut_short_is_refused(self, tmp_path):
        torch.save({"model_state": {"x": torch.zeros(1000)}}, tmp_path / "whole.pyth")
        data = (tmp_path / "whole.pyth").read_bytes()
        (tmp_path / "short.pyth").write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match=r"short\.pyth is damaged, cut short"):
            convert_slowfast_checkpoint(tmp_path / "short.pyth", tmp_path / "out")

    def test_a_text_file_is_refused(self, tmp_path):
        (tmp_path / "page.pkl").write_text("<html>Not found</html>")
        with pytest.raises(ValueError, match="is damaged, cut short, or not a pickle"):
            convert_slowfast_checkpoint(tmp_path / "page.pkl", tmp_path / "out")

    def test_classes_are_let_through_when_they_are_named(self, tmp_path):
        import argparse

        torch.save({"options": argparse.Namespace(x=1)}, tmp_path / "file.pt")
        with pytest.raises(ValueError, match=r"an object of type argparse\.Namespace"):
            load_torch_file(tmp_path / "file.pt")
        assert load_torch_file(tmp_path / "file.pt", [argparse.Namespace])["options"].x == 1


class TestCommand:
    def test_it_writes_a_folder_and_names_what_was_left_out(self, tmp_path, monkeypatch):
        tiny = make_tiny_slowfast()
        monkeypatch.setattr(slowfast_configuration, "VideoLightsSlowFastConfig", tiny_slowfast_config)
        (tmp_path / "slowfast.pkl").write_bytes(pickle.dumps({"blobs": weights_of(tiny, "caffe2")}))
        command = ["convert-slowfast", str(tmp_path / "slowfast.pkl"), str(tmp_path / "out")]
        result = CliRunner().invoke(app, [*command, "--frame-sampling", "even"])
        assert result.exit_code == 0, result.output
        assert "Left out 5 tensors" in result.output
        assert "pred_w" in result.output
        backbone = SlowFastBackbone.from_pretrained(tmp_path / "out")
        assert (backbone.video_dim, backbone.sampling) == (80, "even")

    def test_a_file_that_does_not_fit_ends_with_one_line(self, tmp_path):
        (tmp_path / "page.pkl").write_text("<html>")
        result = CliRunner().invoke(app, ["convert-slowfast", str(tmp_path / "page.pkl"), str(tmp_path / "out")])
        assert result.exit_code == 1
        assert "Error:" in result.output
        assert not (tmp_path / "out").exists()
