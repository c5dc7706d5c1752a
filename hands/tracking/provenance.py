"""Sources and licences of data on runs and models: as tags, which registered versions get too."""

import json
from dataclasses import asdict

import mlflow

from hands.raw.provenance import UNKNOWN, Sources, checked_sources, licences

SOURCES_TAG, LICENCE_TAG = "hands.sources", "hands.licence"


def source_tags(sources: Sources) -> dict[str, str]:
    """hands.sources, JSON as in provenance.json, and hands.licence, to be read."""
    return {SOURCES_TAG: json.dumps([asdict(source) for source in sources]), LICENCE_TAG: licences(sources)}


def only_source_tags(tags: dict[str, str]) -> dict[str, str]:
    """Those of these tags that source_tags gave."""
    return {name: tags[name] for name in (SOURCES_TAG, LICENCE_TAG) if name in tags}


def log_sources(sources: Sources) -> None:
    """Says on the active run what its data is made of."""
    mlflow.set_tags(source_tags(sources))


def tagged_sources(tags: dict[str, str]) -> Sources:
    """What tags say; UNKNOWN where they do not."""
    try:
        return checked_sources(json.loads(tags[SOURCES_TAG]))
    except (KeyError, ValueError, TypeError):
        return (UNKNOWN,)
