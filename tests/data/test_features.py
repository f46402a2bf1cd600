import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from videolights_hf.data.features import FeatureFileError, feature_files, read_feature_matrix, read_features

PLAIN = (("{id}",),)
PAIR = (("{id}",), ("{id}_rgb", "{id}_opt"))


def save(path, array, key="features"):
    np.save(path, array) if path.suffix == ".npy" else np.savez(path, **{key: array})
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_matrices_of_both_kinds_are_read_as_float16(tmp_path, name, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    save(tmp_path / name, array)
    (path,) = feature_files(tmp_path, "a", PLAIN)
    matrix = read_feature_matrix([path])
    assert matrix.dtype == np.float16
    np.testing.assert_array_equal(matrix, array)


def test_the_first_key_that_is_there_is_read(tmp_path):
    path = tmp_path / "q.npz"
    np.savez(path, token=np.zeros((2, 2)), pooler_output=np.zeros(2))
    assert read_features(path, ("last_hidden_state", "token")).shape == (2, 2)
    with pytest.raises(FeatureFileError, match=r"has \['pooler_output', 'token'\], but not 'features'") as caught:
        read_features(path)
    assert caught.value.kind == "mismatched"


def test_flow_and_color_are_laid_side_by_side_and_cut_to_the_shorter(tmp_path):
    rgb = save(tmp_path / "v_rgb.npy", np.ones((5, 2), np.float32))
    flow = save(tmp_path / "v_opt.npy", np.zeros((4, 3), np.float32))
    paths = feature_files(tmp_path, "v", PAIR)
    assert paths == [rgb, flow]
    assert read_feature_matrix(paths).tolist() == [[1, 1, 0, 0, 0]] * 4


def test_half_a_pair_is_missing(tmp_path):
    save(tmp_path / "v_rgb.npy", np.ones((5, 2), np.float32))
    with pytest.raises(FeatureFileError, match=r"no v or v_rgb \+ v_opt") as caught:
        feature_files(tmp_path, "v", PAIR)
    assert caught.value.kind == "missing"


@pytest.mark.parametrize("item", ["../secret", "..", ".", "", "a/b", "a\\b", "/etc/passwd", "C:secret", "x\0"])
def test_an_id_never_leaves_the_folder(tmp_path, item):
    folder = tmp_path / "features"
    folder.mkdir()
    save(tmp_path / "secret.npz", np.ones((2, 2)))
    with pytest.raises(FeatureFileError, match="is not a plain file name") as caught:
        feature_files(folder, item, PLAIN)
    assert caught.value.kind == "unsafe id"


def test_braces_in_an_id_are_plain_characters(tmp_path):
    path = save(tmp_path / "{id}{0}.npy", np.ones((1, 1)))
    assert feature_files(tmp_path, "{id}{0}", PLAIN) == [path]


def test_an_overlong_id_is_missing(tmp_path):
    with pytest.raises(FeatureFileError, match="no aaa"):
        feature_files(tmp_path, "a" * 400, PLAIN)


class Exploit:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was executed')",)


@pytest.mark.parametrize("kind", ["object npz", "object npy", "bare pickle"])
def test_pickles_are_refused_and_never_executed(tmp_path, kind):
    array = np.array([Exploit()], dtype=object)
    path = tmp_path / ("a.npz" if kind == "object npz" else "a.npy")
    if kind == "object npz":
        np.savez(path, features=array)
    elif kind == "object npy":
        np.save(path, array, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(FeatureFileError, match="pickle") as caught:
        read_features(path)
    assert caught.value.kind == "pickled"


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_truncated_files_are_named(tmp_path, name, share):
    path = save(tmp_path / name, np.ones((50, 20), np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FeatureFileError, match=name) as caught:
        read_features(path)
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("array", [np.ones(3), np.ones((0, 3)), np.ones((1, 2, 3)), np.ones((2, 2), dtype=np.int64)])
def test_what_is_no_matrix_of_floats_is_mismatched(tmp_path, array):
    with pytest.raises(FeatureFileError, match="a matrix of floats is needed") as caught:
        read_features(save(tmp_path / "a.npy", array))
    assert caught.value.kind == "mismatched"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_values_that_float16_cannot_hold_are_named(tmp_path, value):
    with pytest.raises(FeatureFileError, match="beyond float16") as caught:
        read_feature_matrix([save(tmp_path / "a.npy", np.array([[1.0, value]]))])
    assert caught.value.kind == "not finite"


def test_a_file_that_vanished_is_missing(tmp_path):
    with pytest.raises(FeatureFileError) as caught:
        read_features(tmp_path / "gone.npz")
    assert caught.value.kind == "missing"


def npy(shape, dtype="<f4", content=b""):
    """An `.npy` file whose header declares what it likes."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def zipped(content, compression=zipfile.ZIP_DEFLATED, member="features.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


MATRIX = npy((50, 20), content=np.random.default_rng(0).random((50, 20), np.float32).tobytes())


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (npy("{"), "truncated"),
        (b"\x93NUMPY\x01\x00\x01\x00{", "truncated"),
        (b"\x93NUMPY\x01\x00\x0c\x00if x:\n  y\n z", "truncated"),
        (b"\x93NUMPY\x01\x00\x07\x00{[]: 1}", "truncated"),
        (npy((2**64, 2**64)), "truncated"),
        (npy((2**31 - 1, 2**31 - 1)), "truncated"),
        (npy((4, 4), content=bytes(63)), "truncated"),
        (zipped(MATRIX[:-1]), "truncated"),
        (flipped(zipped(MATRIX, zipfile.ZIP_LZMA)), "truncated"),
        (flipped(zipped(MATRIX, zipfile.ZIP_STORED)), "truncated"),
        (zipped(b"no array", member="features"), "pickled"),
        (zipped(npy((2, 2), "|O", b"x" * 100)), "pickled"),
        (npy((2, 2), "<i8", bytes(32)), "mismatched"),
        (b"", "truncated"),
    ],
)
def test_a_hostile_file_is_named_and_costs_nothing(tmp_path, content, kind):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(FeatureFileError, match=r"a\.npz: ") as caught:
        read_features(path)
    assert caught.value.kind == kind


def test_a_declared_size_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "zeros.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("features.npy", "w") as member:
        member.write(npy((600, 262_144)))
        for _ in range(600):
            member.write(bytes(1024**2))
    assert path.stat().st_size < 10**6
    with pytest.raises(
        FeatureFileError, match=r"more than the 536,870,912 that are read .MAX_FEATURE_BYTES."
    ) as caught:
        read_features(path)
    assert caught.value.kind == "too large"
    assert read_features(path, max_bytes=10**9).shape == (600, 262_144)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(FeatureFileError, match="is not a regular file"):
        read_features(tmp_path / "a.npy")
    with pytest.raises(FeatureFileError, match="no a"):
        feature_files(tmp_path, "a", PLAIN)


class TestTorchFiles:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
    def test_a_matrix_of_any_float_is_read_as_float16(self, tmp_path, dtype):
        matrix = torch.arange(6.0).reshape(2, 3).to(dtype)
        torch.save(matrix, tmp_path / "a.pt")
        assert feature_files(tmp_path, "a", PLAIN) == [tmp_path / "a.pt"]
        read = read_feature_matrix([tmp_path / "a.pt"])
        assert read.dtype == np.float16
        assert read.tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_the_older_format_views_and_parameters_are_read(self, tmp_path):
        whole = torch.arange(12.0).reshape(4, 3)
        for saved in (whole[1:3], torch.nn.Parameter(whole[1:3]), whole.T.clone().T[1:3]):
            torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
            assert read_features(tmp_path / "a.pt").tolist() == [[3, 4, 5], [6, 7, 8]]

    def test_the_first_key_of_a_mapping_that_is_there_is_read(self, tmp_path):
        torch.save({"token": torch.zeros(2, 2), "note": "x"}, tmp_path / "q.pt")
        assert read_features(tmp_path / "q.pt", ("last_hidden_state", "token")).shape == (2, 2)
        with pytest.raises(FeatureFileError, match=r"has \['note', 'token'\], but not 'features'") as caught:
            read_features(tmp_path / "q.pt")
        assert caught.value.kind == "mismatched"

    @pytest.mark.parametrize("saved", [Exploit(), {"features": Exploit()}, np.ones((2, 2)), [Exploit]])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_what_needs_a_pickle_is_refused_in_one_line_and_not_run(self, tmp_path, saved, zipped):
        torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(FeatureFileError, match=r"a\.pt: is never loaded.*Nothing in it was run") as caught:
            read_features(tmp_path / "a.pt")
        assert caught.value.kind == "pickled"
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
    def test_a_truncated_file_is_named(self, tmp_path, share):
        torch.save(torch.ones(50, 20), tmp_path / "a.pt")
        content = (tmp_path / "a.pt").read_bytes()
        (tmp_path / "a.pt").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(FeatureFileError, match="cut short") as caught:
            read_features(tmp_path / "a.pt")
        assert caught.value.kind == "truncated"

    @pytest.mark.parametrize(
        "saved",
        [
            torch.ones(3),
            torch.ones(0, 3),
            torch.ones(1, 2, 3),
            torch.ones(2, 2, dtype=torch.int64),
            torch.eye(2).to_sparse(),
            "text",
            None,
        ],
    )
    def test_what_is_no_matrix_of_floats_is_mismatched(self, tmp_path, saved):
        torch.save(saved, tmp_path / "a.pt")
        with pytest.raises(FeatureFileError, match="a matrix of floats is needed") as caught:
            read_features(tmp_path / "a.pt")
        assert caught.value.kind == "mismatched"

    def test_what_is_too_large_is_refused_before_and_after_reading(self, tmp_path):
        path = tmp_path / "a.pt"
        torch.save(torch.ones(4, 4), path)
        with pytest.raises(FeatureFileError, match=r"shape \(4, 4\), more than 63 bytes") as caught:
            read_features(path, max_bytes=63)
        assert caught.value.kind == "too large"
        # A tensor that repeats one value in memory would be copied at its full size.
        torch.save(torch.ones(1, 1).expand(10**6, 10**6), path)
        with pytest.raises(FeatureFileError, match="without the values for it") as caught:
            read_features(path)
        assert caught.value.kind == "pickled"
        with path.open("wb") as file:
            file.truncate(2**31)
        with pytest.raises(FeatureFileError, match="2,147,483,648 bytes, more than the 1,073,741,824") as caught:
            read_features(path)
        assert caught.value.kind == "too large"

    def test_a_file_that_vanished_is_missing(self, tmp_path):
        with pytest.raises(FeatureFileError) as caught:
            read_features(tmp_path / "gone.pt")
        assert caught.value.kind == "missing"
