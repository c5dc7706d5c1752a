"""MANO's files: read as the arrays in them, nothing in them executed."""

import pickle

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.interhand import mano_file
from hands.interhand.mano import load_models
from tests.hostile_input import Attack
from tests.interhand.made_mano import MIRROR, mano_arrays, write_mano_npz


@pytest.mark.parametrize("hand", ["left", "right"])
def test_a_pickle_of_chumpy_and_scipy_is_read_as_the_arrays_in_it(mano_dir, hand):
    content = mano_file.read(mano_file.find(mano_dir.parent, hand))  # in models/, as the download has it
    for key, array in mano_arrays(hand).items():
        np.testing.assert_array_equal(content[key], array.astype(np.int64 if array.dtype.kind in "iu" else np.float64))


def test_an_npz_is_the_same_model(tmp_path, mano_dir):
    folder = write_mano_npz(tmp_path / "npz")
    for hand in ("left", "right"):
        a, b = (mano_file.read(mano_file.find(where, hand)) for where in (mano_dir, folder))
        for key in mano_file.KEYS:
            np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_in_a_pickle_is_executed(tmp_path, protocol):
    marker = tmp_path / "executed"
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"f": Attack(marker)}, protocol=protocol))
    with pytest.raises(InvalidInput, match=r"MANO_RIGHT.pkl is no MANO model \(it holds .*mkdir"):
        mano_file.read(tmp_path / "MANO_RIGHT.pkl")
    assert not marker.exists()


@pytest.mark.parametrize("content", [
    b"", b"not a pickle", b"\x80\x02}q\x00.", b"c__builtin__\neval\n(S'1'\ntR.", b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R.",
])  # fmt: skip
def test_other_pickles_are_refused(tmp_path, content):
    (tmp_path / "MANO_LEFT.pkl").write_bytes(content)
    with pytest.raises(InvalidInput, match="MANO_LEFT.pkl is no MANO model"):
        mano_file.read(tmp_path / "MANO_LEFT.pkl")


def test_a_cut_or_flipped_pickle_is_refused_or_read_never_worse(mano_dir, tmp_path):
    whole = (mano_dir / "MANO_RIGHT.pkl").read_bytes()
    rng = np.random.default_rng(0)
    file = tmp_path / "MANO_RIGHT.pkl"
    for _ in range(40):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, min(len(damaged), 3000), 3):
            damaged[place] = rng.integers(256)
        file.write_bytes(bytes(damaged))
        try:
            mano_file.read(file)
        except InvalidInput:
            pass


def test_a_missing_file_and_files_of_other_shapes_are_named(tmp_path):
    with pytest.raises(InvalidInput, match="has no MANO_LEFT.pkl or MANO_LEFT.npz"):
        load_models(tmp_path)
    write_mano_npz(tmp_path / "npz")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **{**mano_arrays("left"), "weights": np.ones((778, 24))})
    with pytest.raises(InvalidInput, match="MANO_LEFT.npz has weights of 778x24; MANO's is 778x16"):
        load_models(tmp_path / "npz")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **mano_arrays("right"))
    with pytest.raises(InvalidInput, match="holds the same hand"):
        load_models(tmp_path / "npz")
    arrays = mano_arrays("left")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **{key: arrays[key] for key in arrays if key != "posedirs"})
    with pytest.raises(InvalidInput, match="MANO_LEFT.npz.*posedirs"):
        load_models(tmp_path / "npz")


def test_the_left_hands_shapes_are_mirrored_only_where_they_are_not_yet(models, tmp_path):
    right, left = models["right"].shape_directions, models["left"].shape_directions
    np.testing.assert_array_equal(left, right * MIRROR[:, None])
    write_mano_npz(tmp_path / "npz")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **{**mano_arrays("left"), "shapedirs": left})
    np.testing.assert_array_equal(load_models(tmp_path / "npz")["left"].shape_directions, left)
