"""The signals that ask a process to stop; imports nothing slow, so that they can be looked after from the first moment."""

import signal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
