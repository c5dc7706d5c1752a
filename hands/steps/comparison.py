"""A comparison of models: all scored on the same pictures, in groups of seeds, each pair judged, all of it on one page."""

from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import torch
from lightning.fabric import Fabric
from PIL import Image

from hands.evaluation.detail import Detail, calibration_error, score_in_detail
from hands.evaluation.differences import Difference, in_words, mean_interval, paired_difference, seeds_difference
from hands.evaluation.inference import predict_subset
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSet, PackedSubset
from hands.parts import HANDS, PART_NAMES, PART_SCORES
from hands.pictures import comparison as drawn
from hands.pictures.figures import overlay, tile_rows, to_uint8
from hands.steps.start import fetched_network
from hands.tracking.candidates import Candidate
from hands.training.devices import prepared_network

PAGE = "comparison.html"
N_FRAMES = 8
SHARES = ("miou", "miou_single", "miou_interacting", "miou_dataset", "miou_overlap", "absent_hand")
LOWER_IS_BETTER = ("absent_hand", "calibration error", "parameters, millions", "seconds of training")


@dataclass(frozen=True)
class Group:
    """Seeds of one configuration, or one model: name on the page; members and their details in the same order; parameters: of
    the network, millions."""

    name: str
    members: list[Candidate]
    details: list[Detail]
    parameters: float

    def values(self, score: str) -> list[float]:
        return [detail.scores.values[score] for detail in self.details]

    @property
    def mious(self) -> np.ndarray:
        """(N, 2) of each picture and hand, the mean over seeds."""
        return np.mean([detail.mious for detail in self.details], axis=0)


def compare(candidates: list[Candidate], packed: PackedSet, params: SimpleNamespace, fabric: Fabric, folder: Path) -> None:
    """Scores the candidates on params.split and writes comparison.html to `folder` and, with all numbers, to the run.

    Raises:
        InvalidInput: a model was trained on pictures of another size than the set's, or the split has no labels.
    """
    reader = RecordReader(packed.subset(params.split), params.data_residency, fabric.device)
    groups = score_groups(candidates, packed, params, fabric, reader)
    verdicts = [(pair, judge(*pair, reader.subset, params.seed)) for pair in combinations(groups, 2)]
    for (first, second), difference in verdicts:
        print(in_words(first.name, second.name, difference), flush=True)
    frames = differing_frames(groups, packed, params, fabric, reader)
    page = drawn.comparison_page(**content(groups, verdicts, frames, packed, params))
    (folder / PAGE).write_text(page)
    mlflow.log_text(page, PAGE)
    log(groups, verdicts, params.split)


def score_groups(
    candidates: list[Candidate], packed: PackedSet, params: SimpleNamespace, fabric: Fabric, reader: RecordReader
) -> list[Group]:
    """The candidates in groups of one configuration, in the order in which they were named, scored."""
    by_configuration: dict[tuple, list[Candidate]] = {}
    for candidate in candidates:
        by_configuration.setdefault(candidate.configuration, []).append(candidate)
    groups = []
    for letter, members in zip(letters(len(by_configuration)), by_configuration.values(), strict=True):
        details = []
        for candidate in members:
            network = fetched_network(candidate.uri, packed.manifest.size)
            parameters = sum(weights.numel() for weights in network.parameters()) / 1e6
            network = prepared_network(fabric, network, params.memory_format)
            details.append(score_in_detail(network, reader, params.eval_batch_size, fabric.autocast))
        several = f"{len(members)} seeds like " if len(members) > 1 else ""
        groups.append(Group(f"{letter} ({several}{members[0].name})", members, details, parameters))
    return groups


def letters(n: int) -> list[str]:
    """A, B, ... Z, A1, B1, ..."""
    return [chr(ord("A") + i % 26) + (str(i // 26) if i >= 26 else "") for i in range(n)]


def judge(first: Group, second: Group, subset: PackedSubset, seed: int) -> Difference:
    """Over seeds where both have several, over subjects otherwise."""
    if len(first.members) > 1 and len(second.members) > 1:
        return seeds_difference(first.values("miou"), second.values("miou"))
    # the capture stands for the subject: 'val/Capture0/<seq>/cam/image'
    subjects = ["/".join(path.split("/")[:2]) for path in subset.paths]
    return paired_difference(first.mious, second.mious, subjects, seed)


def differing_frames(
    groups: list[Group], packed: PackedSet, params: SimpleNamespace, fabric: Fabric, reader: RecordReader
) -> Image.Image:
    """The pictures with the largest range of the groups' scores: picture, truth and each group's first model."""
    mious = np.stack([np.nansum(group.mious, axis=1) for group in groups])
    order = np.argsort(np.ptp(mious, axis=0), kind="stable")[::-1][:N_FRAMES]
    indices = np.sort(order)
    headings, tiles = ["image"], [[] for _ in indices]
    for number, group in enumerate(groups):
        network = fetched_network(group.members[0].uri, packed.manifest.size)
        network = prepared_network(fabric, network, params.memory_format)
        _, images, truth, predicted = next(predict_subset(network, reader, indices, len(indices), fabric.autocast))
        if number == 0:
            for row, picture in zip(tiles, to_uint8(images), strict=True):
                row.append(picture)
            add_hands(tiles, headings, truth, "truth")
        add_hands(tiles, headings, predicted, group.name.partition(" ")[0])
    captions = [reader.subset.paths[i] for i in indices]
    return tile_rows(tiles, headings, captions, columns=1)


def add_hands(tiles: list[list[np.ndarray]], headings: list[str], labels: torch.Tensor, name: str) -> None:
    """A tile a hand to each row; labels (N, 2, S, S)."""
    headings += [f"{hand}, {name}" for hand in HANDS]
    for row, both in zip(tiles, labels.cpu().numpy(), strict=True):
        row += [overlay(row[0], hand) for hand in both]


def part_ious(group: Group) -> np.ndarray:
    """(16,) the mean over seeds."""
    return np.mean([[detail.scores.values[name] for name in PART_SCORES] for detail in group.details], axis=0)


def content(groups: list[Group], verdicts: list, frames: Image.Image, packed: PackedSet, params: SimpleNamespace) -> dict:
    names = [group.name for group in groups]
    seen = [group.members[0] for group in groups]
    digest = packed.manifest.digest
    foreign = [group.name for group, member in zip(groups, seen, strict=True) if member.dataset_digest != digest]
    curves = [(g.name, i, member.curve) for i, g in enumerate(groups) for member in g.members]
    return {
        "title": f"{len(groups)} models on {params.split}",
        "about": f"Scored on the same {len(packed.subset(params.split))} pictures of {packed.folder.name} (digest {digest}), "
        f"{packed.manifest.size} pixels a side.",
        "warnings": [f"Trained on another packed set than this one: {', '.join(foreign)}."] if foreign else [],
        "names": names,
        "verdicts": [
            {"text": in_words(first.name, second.name, difference), "sure": difference.beyond_chance}
            for (first, second), difference in verdicts
        ],
        "rows": score_rows(groups),
        "parameters": parameter_rows(seen),
        "bars": drawn.embedded(drawn.part_bars(names, np.stack([part_ious(group) for group in groups]))),
        "curves": drawn.embedded(drawn.curves_figure(curves)),
        "reliability": drawn.embedded(
            drawn.reliability_figure(names, [sum(detail.reliability for detail in group.details) for group in groups])
        ),
        "frames": drawn.embedded(frames),
        "made": f"Made by the entry point compare on {datetime.now():%Y-%m-%d %H:%M}: models={params.models}",
    }


def score_rows(groups: list[Group]) -> list[dict]:
    """Rows of the page's table; the best of each is marked."""
    rows = {score: [group.values(score) for group in groups] for score in SHARES}
    for name, score in zip(PART_NAMES[1:], PART_SCORES, strict=True):
        rows[name] = [group.values(score) for group in groups]
    rows["calibration error"] = [[calibration_error(detail.reliability) for detail in group.details] for group in groups]
    rows["seconds of training"] = [[member.seconds for member in group.members] for group in groups]
    rows["parameters, millions"] = [[group.parameters] for group in groups]
    return [{"name": name, "cells": cells(name, values)} for name, values in rows.items()]


def cells(name: str, values: list[list[float]]) -> list[dict]:
    digits = 0 if name == "seconds of training" else 1 if name == "parameters, millions" else 4
    means = np.array([np.mean(seeds) for seeds in values])
    best = np.nan if np.isnan(means).all() else np.nanmin(means) if name in LOWER_IS_BETTER else np.nanmax(means)
    texts = []
    for seeds, mean in zip(values, means, strict=True):
        text = "-" if np.isnan(mean) else f"{mean:.{digits}f}"
        if len(seeds) > 1 and not np.isnan(mean):
            low, high = mean_interval(seeds)
            text += f" ({low:.{digits}f} to {high:.{digits}f})"
        texts.append(text)
    differ = len(set(texts)) > 1
    return [{"text": text, "best": bool(differ and mean == best)} for text, mean in zip(texts, means, strict=True)]


def parameter_rows(members: list[Candidate]) -> list[dict]:
    """Parameters that are not the same for all of those that have any."""
    names = sorted({name for member in members for name in member.params})
    rows = [{"name": "step", "cells": [member.step or "-" for member in members]}]
    rows += [{"name": name, "cells": [member.params.get(name, "-") for member in members]} for name in names]
    return [row for row in rows if len(set(row["cells"])) > 1]


def log(groups: list[Group], verdicts: list, split: str) -> None:
    """Metrics a group, and a table of the pairs."""
    scores = {
        f"{group.name.partition(' ')[0]}/{split}/{score}": float(np.mean(group.values(score)))
        for group in groups
        for score in SHARES
    }
    mlflow.log_metrics({name: value for name, value in scores.items() if np.isfinite(value)})
    columns: dict[str, list] = {"first": [], "second": [], "difference": [], "low": [], "high": [], "over": [], "says": []}
    for (first, second), found in verdicts:
        words = in_words(first.name, second.name, found)
        row = (first.name, second.name, found.value, found.low, found.high, found.units, words)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    mlflow.log_table(columns, "pairs.json")
