"""An import that is repeated, interrupted, gone on with, or in another's way."""

import copy
import os
import pickle
import signal
import subprocess
import sys

import psutil
import pytest

from hands.errors import InvalidInput
from hands.interhand import importer
from hands.interhand.importer import run_import
from hands.raw.layout import RawDataset
from tests.interhand.whole_imports import PICTURES, configuration, same
from tests.project import ROOT, wait_until


def test_a_finished_import_is_recognised_and_another_is_refused(imported, release_dir, monkeypatch):
    out, report = imported
    monkeypatch.setattr(importer, "_import_chunks", None)  # nothing may be imported again
    assert run_import(configuration(release_dir, workers=2), out) == report
    with pytest.raises(InvalidInput, match="other parameters"):
        run_import(configuration(release_dir, seed=1), out)


def test_a_changed_annotation_is_another_import(release_files, imported, tmp_path):
    """The same folder, one coordinate of one joint moved."""
    out = tmp_path / "data"
    release = release_files.write(tmp_path / "release")
    run_import(configuration(release), out)
    changed = copy.deepcopy(release_files)
    changed.joint_3d["0"]["1000"]["world_coord"][0][0] += 0.1
    changed.write(release)
    with pytest.raises(InvalidInput, match="other parameters, inputs or code"):
        run_import(configuration(release), out)


def test_workers_and_an_error_midway_do_not_show(imported, release_dir, tmp_path, monkeypatch):
    out, report = imported
    monkeypatch.setattr(importer, "_CHUNK", 4)
    original, calls = importer.RawFolderWriter.add_frame, []

    def failing(self, frame):
        calls.append(frame.path)
        if len(calls) == 11:
            raise OSError("disk full")
        original(self, frame)

    monkeypatch.setattr(importer.RawFolderWriter, "add_frame", failing)
    with pytest.raises(OSError, match="disk full"):
        run_import(configuration(release_dir), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    with pytest.raises(InvalidInput, match="has no datalist"):
        RawDataset(tmp_path / ".data.importing", "bgr")
    resumed = run_import(configuration(release_dir, workers=2), tmp_path / "data")
    assert len(calls) == 11 + PICTURES - 8  # two chunks of four were kept
    assert same(tmp_path / "data", out)
    assert {**resumed, "seconds": 0} == {**report, "seconds": 0}
    assert not (tmp_path / ".data.importing").exists()


def test_other_parameters_do_not_go_on_with_an_unfinished_import(release_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "_CHUNK", 4)
    monkeypatch.setattr(importer.Tally, "report", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_import(configuration(release_dir), tmp_path / "data")
    monkeypatch.undo()
    with pytest.raises(InvalidInput, match="unfinished import"):
        run_import(configuration(release_dir, seed=1), tmp_path / "data")
    run_import(configuration(release_dir), tmp_path / "data")


def test_a_torn_journal_line_is_done_again(imported, release_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "_CHUNK", 8)
    monkeypatch.setattr(importer.Tally, "report", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_import(configuration(release_dir), tmp_path / "data")
    monkeypatch.undo()
    monkeypatch.setattr(importer, "_CHUNK", 8)
    journal = tmp_path / ".data.importing" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    run_import(configuration(release_dir), tmp_path / "data")
    assert same(tmp_path / "data", imported[0])


def test_killed_outright_it_leaves_nothing_whole_and_goes_on(imported, release_dir, tmp_path, monkeypatch):
    """kill -9 after two chunks: no data set, no process is left behind; repeated, the same data set."""
    out = tmp_path / "data"
    script = tmp_path / "run.py"
    script.write_text(
        "if __name__ == '__main__':\n"
        "    import pickle, sys, time\n"
        "    from hands.interhand import importer\n"
        "    importer._CHUNK = 2\n"
        "    record = importer.Staging.record\n"
        "    importer.Staging.record = lambda self, line: (record(self, line), time.sleep(0.4 if 'chunk' in line else 0))\n"
        "    importer.run_import(pickle.load(open(sys.argv[1], 'rb')), sys.argv[2])\n"
    )
    (tmp_path / "config").write_bytes(pickle.dumps(configuration(release_dir, workers=2)))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "config"), str(out)], env=environ)
    journal = tmp_path / ".data.importing" / "journal.jsonl"
    try:
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3, process)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    done = journal.read_bytes().count(b"\n") - 1
    assert 2 <= done < PICTURES // 2
    assert psutil.wait_procs(children, timeout=100)[1] == []
    monkeypatch.setattr(importer, "_CHUNK", 2)
    run_import(configuration(release_dir), out)
    assert same(out, imported[0])


def test_two_imports_at_once_are_refused(release_dir, tmp_path):
    with importer.Staging(tmp_path / "data", "key"):
        with pytest.raises(InvalidInput, match="Another import"):
            run_import(configuration(release_dir), tmp_path / "data")


def test_an_occupied_folder_is_refused(release_dir, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("")
    with pytest.raises(InvalidInput, match="already holds files"):
        run_import(configuration(release_dir), tmp_path / "data")
    (tmp_path / "data" / "import.json").write_text("{")
    with pytest.raises(InvalidInput, match="import.json is damaged"):
        run_import(configuration(release_dir), tmp_path / "data")
