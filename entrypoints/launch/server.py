"""Whether the tracking server answers, asked before anything slow is imported."""

import os
import urllib.error
import urllib.request

from hands.errors import InvalidInput

TIMEOUT_S = 3


def check_server() -> None:
    """Refuses a tracking server that does not answer, in seconds instead of MLflow's minutes of retries."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InvalidInput(
            f"the tracking server {uri} does not answer ({reason}); start it or set MLFLOW_TRACKING_URI to one that does."
        ) from error
