"""The entry points of MLproject, a module each, and what they share."""

from entrypoints.launch.explanations import explain_missing_packages
from entrypoints.launch.stopping import watch_launcher
from hands.processes.output import plain_warnings, quiet_libraries

explain_missing_packages()
quiet_libraries()
plain_warnings()
watch_launcher()
