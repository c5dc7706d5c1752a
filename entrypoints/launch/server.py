"""The tracking server, asked before anything slow is imported: as MLflow asks, by its client and its variables."""

import os
from urllib.parse import unquote, urlsplit

from hands.errors import InvalidInput

TIMEOUT_S = 3
USER = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH or MLFLOW_TRACKING_INSECURE_TLS, and MLFLOW_TRACKING_CLIENT_CERT_PATH"


def check_server() -> None:
    """Refuses a tracking server that does not answer or lets nobody in, in seconds instead of MLflow's minutes of retries.

    Raises:
        InvalidInput: what is wrong, and which variable tells it otherwise.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")):
        return
    _take_user_out(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from hands.tracking import brief_requests

    try:
        with brief_requests(TIMEOUT_S):
            MlflowClient().search_experiments(max_results=1)
    except MlflowException as error:
        if error.get_http_status_code() != 403:  # it answers, and what this user may not do is said where it is tried
            raise InvalidInput(f"the tracking server {uri} {_refusal(error)}.") from error


def _refusal(error: Exception) -> str:
    reason = cause(error)
    if "certificate" in reason:
        return f"does not answer ({reason}); set {CERTIFICATES}"
    if "exception" in str(error):  # of the connection; MLflow tells both kinds by their texts alone
        return f"does not answer ({reason}); start it or set MLFLOW_TRACKING_URI to one that does"
    return f"does not let MLflow in ({reason}); set {USER}, or MLFLOW_TRACKING_URI to what is a tracking server"


def _take_user_out(uri: str) -> None:
    """Hands the user and password of the URI to MLflow by its variables: it prints the URI, and requests would show it."""
    parts = urlsplit(uri)
    if not (parts.username and parts.password):
        return
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
    os.environ["MLFLOW_TRACKING_URI"] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def cause(error: Exception) -> str:
    """The last link of a chain of reasons, as requests and MLflow write it."""
    text = str(error)
    text = text.rpartition("Caused by ")[2] if "Caused by " in text else text.partition(" failed with ")[2] or text
    return " ".join(text.split())[:300]
