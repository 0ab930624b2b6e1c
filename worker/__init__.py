"""What runs on a dom0. Imports nothing of webxen or Django; installs without them."""
