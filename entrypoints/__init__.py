"""The entry points of MLproject, a module each, and what they share."""

from entrypoints.launch.explanations import explain_missing_packages
from entrypoints.launch.stopping import watch_launcher

explain_missing_packages()
watch_launcher()
