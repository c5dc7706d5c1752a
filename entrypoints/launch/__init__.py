"""What entry points share: parsing (parameters, command_line, commands), what need not be passed (taken), child processes,
stopping and what follows it (stopping, killed), the tracking server, checks. May import all of hands and sweeps; nothing there
imports it. Read parameters.py first."""
