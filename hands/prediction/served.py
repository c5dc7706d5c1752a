"""What a logged network answers when it is served: label pictures of both hands for pictures sent to it.

    mlflow models serve -m models:/hands-g2@champion --env-manager local -p 5611

A request holds records with `image`, a PNG, JPEG or WebP in base64 or an array (H, W, 3) of 0..255, and, where it is known
where the hands are, `box` [x, y, w, h]; without it the network looks for them (hands/prediction/labelling.py). The answer
holds for each of them

    left, right                          PNGs in base64, one channel, of the picture's size, whose values are part ids 0..16
    confidence_left, confidence_right    mean probability of the labels over the pixels of that hand; 0 where it has none
    box                                  the square that was labelled; outside of it all is background
    passes                               forward passes; 1 where a box was given
    parts                                the names of the part ids, in order
"""

import base64
import binascii
import io
from contextlib import nullcontext
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from PIL import Image

from hands.errors import InvalidInput, shown
from hands.files.boxes import Box, check_box
from hands.files.photograph import MAX_PIXELS, Photograph
from hands.method.losses import one_hot_labels
from hands.networks.checkpoint import load_discriminator, load_network, network_kind
from hands.parts import HANDS, NUM_CLASSES, PART_NAMES
from hands.prediction.labelling import Labeller, confidence_of, labels_at

MAX_RECORDS = 256


class ServedHands(mlflow.pyfunc.PythonModel):
    """A segmentation network, or the discriminator (`labels` (2, S, S) in, the share of "real" patches out)."""

    def load_context(self, context) -> None:
        folder = Path(context.artifacts["network"])
        self.answer = {"segmentation": self._segment, "discriminator": self._judge}[network_kind(folder)]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.answer == self._segment:
            network, size = load_network(folder)
            self.labeller = Labeller(network.to(self.device).eval(), size, self.device, nullcontext, flip=False)
        else:
            self.discriminator = load_discriminator(folder).to(self.device).eval()

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        try:
            return pd.DataFrame([self.answer(n, record) for n, record in enumerate(_records(model_input))])
        except InvalidInput as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        except Exception as error:
            raise MlflowException(f"internal error: {type(error).__name__}", error_code=INTERNAL_ERROR) from None

    def _segment(self, n: int, record: dict) -> dict[str, object]:
        photograph = _photograph(record.get("image"), f"record {n}: image")
        framed = self.labeller.frame(photograph, _box(record.get("box"), f"record {n}: box"))
        (probabilities,) = self.labeller.probabilities([photograph.crop(framed.box, self.labeller.size)])
        labels = labels_at(probabilities, framed.box, photograph.height, photograph.width)
        sure = zip(HANDS, confidence_of(probabilities), strict=True)
        return {
            **{hand: _to_base64(hand_labels) for hand, hand_labels in zip(HANDS, labels, strict=True)},
            **{f"confidence_{hand}": confidence for hand, confidence in sure},
            "box": [float(number) for number in framed.box],
            "passes": framed.passes,
            "parts": list(PART_NAMES),
        }

    def _judge(self, n: int, record: dict) -> dict[str, float]:
        labels = _array(record.get("labels"), f"record {n}: labels")
        if labels.ndim != 3 or labels.shape[0] != len(HANDS) or min(labels.shape[1:]) < 32 or max(labels.shape) > 1024:
            raise InvalidInput(f"record {n}: labels have shape {labels.shape}; expected (2, S, S) with S from 32 to 1024.")
        if labels.min() < 0 or labels.max() >= NUM_CLASSES:
            found = f"{labels.min()} to {labels.max()}"
            raise InvalidInput(f"record {n}: labels reach from {found}; expected 0..{NUM_CLASSES - 1}.")
        with torch.inference_mode():
            logits = self.discriminator(one_hot_labels(torch.from_numpy(labels).long().unsqueeze(0).to(self.device)))
        return {"real": float((logits > 0).double().mean())}


def _records(model_input) -> list[dict]:
    if isinstance(model_input, pd.DataFrame):
        records = model_input.to_dict("records")
    elif isinstance(model_input, np.ndarray):
        records = [{"image": image} for image in model_input]
    elif isinstance(model_input, list):
        records = model_input
    else:
        raise InvalidInput(f"the request holds a {type(model_input).__name__}; expected records with `image`.")
    if not 0 < len(records) <= MAX_RECORDS or not all(isinstance(record, dict) for record in records):
        raise InvalidInput(f"the request holds {len(records)} items; expected 1 to {MAX_RECORDS} records with `image`.")
    return records


def _photograph(image, name: str) -> Photograph:
    if not isinstance(image, str):
        pixels = _array(image, name)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or not 0 < pixels.size <= 3 * MAX_PIXELS:
            raise InvalidInput(f"{name} is an array of shape {pixels.shape}; expected (H, W, 3).")
        if pixels.min() < 0 or pixels.max() > 255:
            raise InvalidInput(f"{name} reaches from {pixels.min()} to {pixels.max()}; expected whole numbers 0..255.")
        return Photograph.of_pixels(pixels.astype(np.uint8), name)
    try:
        encoded = base64.b64decode("".join(image.split()), validate=True)  # `base64` breaks lines
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{name} is not base64 ({error}); expected a PNG, JPEG or WebP in base64.") from error
    return Photograph(encoded, name)


def _array(values, name: str) -> np.ndarray:
    try:
        array = np.asarray(values.tolist() if isinstance(values, np.ndarray) else values)
    except ValueError as error:
        raise InvalidInput(f"{name} is no regular array; expected nested lists of whole numbers.") from error
    if array.dtype.kind not in "iu":
        raise InvalidInput(f"{name} holds {array.dtype} values; expected whole numbers.")
    return array


def _box(box, name: str) -> Box | None:
    if box is None or (isinstance(box, float) and np.isnan(box)):  # a column that other records have
        return None
    numbers = np.asarray(box, dtype=object).ravel().tolist() if isinstance(box, (list, np.ndarray)) else None
    if numbers is None or len(numbers) != 4 or any(type(number) not in (int, float) for number in numbers):
        raise InvalidInput(f"{name} is {shown(box)}; expected four numbers x, y, w, h.")
    try:
        return check_box([float(number) for number in numbers], name)
    except OverflowError as error:
        raise InvalidInput(f"{name} has a number beyond any picture; correct it.") from error


def _to_base64(labels: np.ndarray) -> str:
    encoded = io.BytesIO()
    Image.fromarray(labels).save(encoded, "PNG", compress_level=1)
    return base64.b64encode(encoded.getvalue()).decode()


mlflow.models.set_model(ServedHands())
