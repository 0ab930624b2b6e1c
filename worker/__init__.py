"""The WebXen worker, which runs in dom0. It imports neither `webxen` nor Django and installs without them."""
