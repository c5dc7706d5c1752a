"""What entry points share: parsing (parameters, command_line, commands), what need not be passed (taken), child processes,
ending and stopping and what follows them (ending, stopping, afterwards), the tracking server, checks. May import all of hands
and sweeps; nothing there imports it. Read parameters.py first."""
