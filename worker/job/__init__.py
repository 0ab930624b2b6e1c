"""One job on this host: its context, journal and reports, and the checks of its order."""
