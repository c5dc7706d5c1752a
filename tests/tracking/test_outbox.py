"""What waits for the tracking server arrives once, whole and in order, wherever the sender died."""

from pathlib import Path

import mlflow
from mlflow.entities import Metric
from PIL import Image

from hands.tracking.outbox import Outbox
from tests.project import pictures_logged


def test_what_was_sent_before_a_crash_is_not_there_twice(store, tmp_path: Path):
    """The server has the entries, the step died before it deleted them."""
    with mlflow.start_run() as active:
        run_id = active.info.run_id
        for _ in range(2):
            outbox = Outbox(tmp_path, run_id)
            outbox.add_metrics(3, [Metric("val/miou", 0.5, 1000, 3), Metric("train/loss_ce", 1.25, 1000, 3)])
            outbox.add_picture(3, "val_frames", Image.new("RGB", (4, 4)))
            assert outbox.last_epoch() == 3
            outbox.send()
            assert outbox.last_epoch() == 0 and not list(tmp_path.iterdir())
    assert [(point.step, point.value) for point in store.get_metric_history(run_id, "val/miou")] == [(3, 0.5)]
    assert pictures_logged(store, run_id) == [3]


def test_a_picture_that_has_arrived_in_part_is_sent_whole_under_its_name(store, tmp_path: Path):
    """The connection broke within the picture, before its thumbnail and the tag by which the UI finds pictures."""
    with mlflow.start_run() as active:
        run_id = active.info.run_id
        store.log_image(run_id, Image.new("RGB", (4, 4)), key="val_frames", step=3)
        store.delete_tag(run_id, "mlflow.loggedImages")
        arrived = Path(mlflow.artifacts.download_artifacts(f"{active.info.artifact_uri}/images"))
        (picture,), (thumbnail,) = arrived.glob("*.png"), arrived.glob("*.webp")
        picture.write_bytes(picture.read_bytes()[:20])
        thumbnail.unlink()
        outbox = Outbox(tmp_path / "outbox", run_id)
        outbox.add_picture(3, "val_frames", Image.new("RGB", (4, 4), "red"))
        outbox.send()
    assert sorted(arrived.iterdir()) == sorted([picture, thumbnail])
    assert Image.open(picture).getpixel((0, 0)) == (255, 0, 0) and Image.open(thumbnail).format == "WEBP"
    assert store.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"
