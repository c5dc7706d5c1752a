"""The networks that a step starts from."""

from types import SimpleNamespace

import mlflow
import torch

from hands.errors import InvalidInput
from hands.method.pseudo_labels import kept
from hands.networks.checkpoint import load_network
from hands.networks.hands_network import HandsNetwork, build_network, network_spec
from hands.packed.batches import whole_batch
from hands.tracking.models import fetch_network
from hands.training.rehearsal import check_trains

ENCODER_WEIGHTS_TAG = "hands.encoder_weights"  # of the run: imagenet or none


def start_network(name: str, model: str, encoder_weights: str, size: int, seed: int) -> HandsNetwork:
    """The network that training starts from: a logged model's, or a new one by name."""
    if model:
        return fetched_network(model, size)
    torch.manual_seed(seed)
    network, weights = build_network(network_spec(name), encoder_weights)
    run = mlflow.active_run()
    if run and ENCODER_WEIGHTS_TAG not in run.data.tags:  # else the run goes on, from what it began with
        mlflow.set_tag(ENCODER_WEIGHTS_TAG, weights)
    return network


def encoder_weights_had(name: str, encoder_weights: str) -> str:
    """What the encoder of a new network would start from now, imagenet or none; raises as build_network."""
    return "none" if encoder_weights == "none" else build_network(network_spec(name), encoder_weights)[1]


def check_network(name: str, size: int, batch: int) -> None:
    """Refuses a name that is no network, and a network that cannot be trained on batches of so many pictures."""
    check_trains(HandsNetwork(network_spec(name), None), size, batch)


def smallest_batch(params: SimpleNamespace, paired: int, unpaired: int, world_size: int) -> int:
    """Pictures that G2 learns from in one step of one process, in whichever step of phase 2 those are fewest.

    Args:
        paired, unpaired: records of the splits; 0 unpaired ones where weights initialization is left out.
    """
    of_pairs = whole_batch(paired, params.batch_size, world_size) // world_size
    if not unpaired:
        return of_pairs
    return min(of_pairs, kept(whole_batch(unpaired, 2 * params.batch_size, world_size) // world_size, params.drop_fraction))


def fetched_network(model: str, size: int) -> HandsNetwork:
    network, trained_size = load_network(fetch_network(model))
    if trained_size != size:
        raise InvalidInput(
            f"the model '{model}' was trained on pictures of side {trained_size}, the packed set has {size}; "
            f"pack the data with size={trained_size} or train the model anew."
        )
    return network
