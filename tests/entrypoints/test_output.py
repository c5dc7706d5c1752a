"""What entry points print of their own warnings and libraries' messages."""

import logging
import os
import subprocess
import sys
import warnings

import pytest

from hands.processes.output import plain_warnings, quiet_libraries
from hands.tracking import ROOT
from hands.training.device_config import DeviceConfig
from hands.training.devices import create_fabric


def test_warnings_for_users_are_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    others = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, category, *place: others.append(category))
    plain_warnings()
    warnings.showwarning(UserWarning("no weights: the encoder starts anew"), UserWarning, "start.py", 34)
    assert capsys.readouterr().err == "Warning: no weights: the encoder starts anew\n" and others == []
    warnings.showwarning(RuntimeWarning("overflow"), RuntimeWarning, "start.py", 34)
    assert capsys.readouterr().err == "" and others == [RuntimeWarning]


def test_what_the_user_has_asked_of_libraries_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("HF_HUB_VERBOSITY", raising=False)
    quiet_libraries()
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "DEBUG" and os.environ["HF_HUB_VERBOSITY"] == "error"


def test_mlflow_does_not_tell_how_it_makes_a_store():
    code = "import entrypoints, logging, mlflow; print(logging.getLogger('mlflow.store.db.utils').getEffectiveLevel())"
    variables = {name: value for name, value in os.environ.items() if name != "MLFLOW_LOGGING_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert int(done.stdout) == logging.WARNING, done.stderr


def test_fabric_does_not_tell_its_precision(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        create_fabric(DeviceConfig("cpu", "1", 1, "auto", "bf16-mixed", "auto", "disk"))
    assert caplog.text == ""
