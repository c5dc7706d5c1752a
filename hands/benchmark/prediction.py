"""Lines 3 and 4: evaluation, and prediction to the finished archive, against the bare forward pass."""

import shutil
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn

from hands.benchmark.bare_steps import images_in_place
from hands.benchmark.measure import Row, Side, compare, rates_in_turn
from hands.benchmark.setting import ONE_PROCESS, BenchSetting, trained_network
from hands.evaluation.inference import predict_subset, score_subset
from hands.packed.batches import RecordReader
from hands.prediction.predictions import predict_submission
from hands.prediction.submission import SubmissionWriter

EVALUATION_GOAL = PREDICTION_GOAL = 0.9
SPLIT = "train"  # the largest labelled one


def bare_forward(network: nn.Module, fabric: Fabric, batch_size: int, size: int, n: int) -> Side:
    """The network alone over n pictures in batches that lie in place."""
    batch = images_in_place(batch_size, size, fabric.device)

    def forward() -> int:
        with torch.inference_mode(), fabric.autocast():
            for start in range(0, n, batch_size):
                network(batch[: n - start])
        return n

    return forward


def evaluation_rows(setting: BenchSetting) -> list[Row]:
    fabric = setting.fabric()
    network, reader = trained_network(setting, fabric), setting.reader(SPLIT, fabric)
    batch_size, n = setting.eval_batch_size, len(reader.subset)

    def evaluate() -> int:
        score_subset(network, reader, batch_size, fabric.autocast, ONE_PROCESS, progress=False)
        return n

    sides = {"evaluate": evaluate, "bare": bare_forward(network, fabric, batch_size, setting.size, n)}
    rates = rates_in_turn(sides, setting.extent, fabric.device, "3 evaluation")
    on = setting.on(fabric, batch_size)
    return [compare(3, "evaluation", "images/s", rates["evaluate"], "bare forward", rates["bare"], EVALUATION_GOAL, on)]


def prediction_rows(setting: BenchSetting) -> list[Row]:
    fabric = setting.fabric()
    network, reader = trained_network(setting, fabric), setting.reader(SPLIT, fabric)
    batch_size, n = setting.eval_batch_size, len(reader.subset)
    predictions, archive = _predictions(network, reader, fabric, batch_size), Path(setting.folder) / "archive"

    def predict() -> int:
        predict_submission(network, reader, fabric.autocast, batch_size, str(archive))
        shutil.rmtree(archive)
        return n

    def write() -> int:
        with SubmissionWriter(archive) as writer:
            for start in range(0, n, batch_size):
                writer.add(reader.subset.paths[start : start + batch_size], predictions[start : start + batch_size])
        shutil.rmtree(archive)
        return n

    sides = {"predict": predict, "write": write, "bare": bare_forward(network, fabric, batch_size, setting.size, n)}
    rates = rates_in_turn(sides, setting.extent, fabric.device, "4 prediction")
    masks = {name: [2 * rate for rate in rates[name]] for name in ("write", "bare")}
    on = setting.on(fabric, batch_size)
    return [
        compare(4, "prediction", "images/s", rates["predict"], "bare forward", rates["bare"], PREDICTION_GOAL, on),
        compare(4, "writing alone", "masks/s", masks["write"], "bare forward", masks["bare"], None, on),
    ]


def _predictions(network: nn.Module, reader: RecordReader, fabric: Fabric, batch_size: int) -> torch.Tensor:
    """(N, 2, S, S) uint8 labels of the whole subset, on the CPU."""
    batches = predict_subset(network, reader, np.arange(len(reader.subset)), batch_size, fabric.autocast)
    return torch.cat([predicted.cpu() for _, _, _, predicted in batches])
