"""The entry points of MLproject, a module each, and what they share."""

from entrypoints.launch.stopping import watch_launcher

watch_launcher()
