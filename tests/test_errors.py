"""What messages, tags and parameters never show."""

import pytest

from hands.errors import InvalidInput, masked
from hands.files.decoding import BrokenEntry


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://ann:s3cret@host:5000/x is away", "http://***@host:5000/x is away"),
        ("https://ann:s3@cret@host", "https://***@host"),
        ("https://t0ken@github.com/a/hands.git", "https://***@github.com/a/hands.git"),
        ("'https://:s3cret@host'", "'https://***@host'"),
        ("postgresql+psycopg2://ann:s3/cret@host:5432/db", "postgresql+psycopg2://***@host:5432/db"),
        ("postgresql://host/db?user=ann&password=s3cret&sslmode=require", "postgresql://host/db?user=ann&password=***&sslmode=require"),
        ("(http://host/a?api_token=s3cret)", "(http://host/a?api_token=***)"),
        ("two: http://a:b@c and http://d:e@f", "two: http://***@c and http://***@f"),
    ],
)  # fmt: skip
def test_passwords_are_masked(text: str, shown: str):
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "models:/hands-g2@champion",
        "http://host:5000/#/models/hands-g2@champion",
        "postgresql://ann@host/db",
        "ssh://git@github.com/a/hands.git",
        "sqlite:////home/ann@work/mlflow.db",
        "at http://host:5000/x, said ann@host",
        "is the password right? token=1",
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert masked(text) == text


def test_refusals_are_masked():
    assert str(InvalidInput("http://a:b@c is away")) == "http://***@c is away"
    assert str(BrokenEntry("broken", "http://a:b@c is broken")) == "http://***@c is broken"
