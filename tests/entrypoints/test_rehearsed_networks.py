"""Networks that cannot be trained on the size and batches that are asked for are refused before any data is read."""

import pytest

from entrypoints import pipeline
from entrypoints.launch.checks import check_recipe
from hands.errors import InvalidInput
from hands.packed.batches import RecordReader
from hands.steps.start import smallest_batch
from sweeps.setting import find_setting
from tests.project import arguments, invoke
from tests.sweeps.sweeping import sweep_params

ONE_VALUE = "deeplabv3plus:resnet18"  # cannot learn from one picture


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch):
    """No pictures can be read."""

    def read(*given, **named):
        raise AssertionError("data was read")

    monkeypatch.setattr(RecordReader, "__init__", read)


def check(**overrides: object) -> None:
    with pipeline.main.make_context("main", arguments("main", encoder_weights="none", **overrides)) as context:
        check_recipe(pipeline.SimpleNamespace(**context.params))


@pytest.mark.parametrize(
    "overrides",
    [
        {"g1": ONE_VALUE, "batch_size": 1},
        {"g1": ONE_VALUE, "n_paired": 1},
        {"g2": ONE_VALUE, "n_paired": 1},
        {"g2": ONE_VALUE, "batch_size": 2, "n_unpaired_images": 2, "n_paired": 4},  # half of two is kept
        {"g2": ONE_VALUE, "batch_size": 2, "devices": 2, "strategy": "ddp"},
        {"g2": "pan:resnet18"},
        {"g1": "dpt:tu-vit_tiny_patch16_224"},
    ],
)
def test_a_recipe(overrides):
    with pytest.raises(InvalidInput, match="cannot be trained on batches of"):
        check(**overrides | {"paired_subjects": 1} if "n_paired" in overrides else overrides)


def test_a_recipe_with_batches_that_suffice():
    check(g1=ONE_VALUE, g2=ONE_VALUE, batch_size=2)
    check(g2=ONE_VALUE, batch_size=2, n_unpaired_images=2, unpaired="masks")  # no initialization, no half


def test_the_smallest_batch_of_phase_2():
    with pipeline.main.make_context("main", arguments("main", batch_size=8, drop_fraction=0.75)) as context:
        params = pipeline.SimpleNamespace(**context.params)
    assert smallest_batch(params, 100, 0, 1) == 8
    assert smallest_batch(params, 100, 100, 1) == 4  # a quarter of 16
    assert smallest_batch(params, 3, 100, 1) == 3
    assert smallest_batch(params, 100, 5, 1) == 2  # of 5, three are dropped
    assert smallest_batch(params, 100, 100, 4) == 1


@pytest.mark.parametrize(
    ("entry_point", "overrides"),
    [
        ("phase1", {"g1": ONE_VALUE, "batch_size": 1}),
        ("phase2_init", {"g2": ONE_VALUE, "batch_size": 1}),
        ("phase2_paired", {"g2": ONE_VALUE, "batch_size": 1}),
    ],
)
def test_a_step(unread, logged, tiny_packed, store, tmp_path, entry_point, overrides):
    models = {"phase2_init": {"g1_model": logged.g2_uri}, "phase2_paired": {"d_model": logged.d_uri}}.get(entry_point, {})
    result = invoke(
        entry_point, packed_dir=tiny_packed.folder, encoder_weights="none", accelerator="cpu", checkpoint_dir=tmp_path,
        data_residency="device", **models, **overrides,
    )  # fmt: skip
    assert result.exit_code == 1
    assert f"{ONE_VALUE} cannot be trained on batches of 1 pictures of side 32" in result.output
    assert not list(tmp_path.iterdir())


def test_a_sweep(unread, logged, tiny_packed, store, tmp_path):
    given = {"g2": ONE_VALUE, "batch_size": 2}
    params = sweep_params(tiny_packed, logged, f"sqlite:///{tmp_path}/optuna.db", **given)
    find_setting(params)
    params.batch_size = 1
    with pytest.raises(InvalidInput, match="cannot be trained on batches of 1 pictures"):
        find_setting(params)
