"""What entry points share: parsing (parameters, commands), child processes, stopping and what follows it (stopping, killed),
the tracking server, checks. May import all of hands and sweeps; nothing there imports it. Read parameters.py first."""
