"""One job on this host: its context, journal, reports, and the checks of its order."""
