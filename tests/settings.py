"""The product's settings, as the tests run them: made-up secrets, a folder of their own, cheap passwords.

No behaviour is switched here; what differs is only what would be slow, shared or outside of this machine.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "WEBXEN_TEST_DATA" not in os.environ:
    # xdist's workers inherit the folder and leave its end to the process that made it
    os.environ["WEBXEN_TEST_DATA"] = tempfile.mkdtemp(prefix="webxen-tests-")
    atexit.register(shutil.rmtree, os.environ["WEBXEN_TEST_DATA"], ignore_errors=True)
# the lab's images and first boot are kept from run to run, where `make up` has them
os.environ.setdefault("WEBXEN_LAB_DATA", os.environ.get("WEBXEN_DATA", ".webxen"))
# one folder a process: the portal makes its key where there is none
DATA = Path(os.environ["WEBXEN_TEST_DATA"], os.environ.get("PYTEST_XDIST_WORKER", "main"))
os.environ["WEBXEN_DATA"] = str(DATA)
DATA.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("WEBXEN_SECRET_KEY", "only-for-tests-0123456789-0123456789-0123456789-0123456789")
# nobody listens there: a test that wants a broker starts its own
os.environ.setdefault("WEBXEN_REDIS_URL", f"unix://{os.environ['WEBXEN_TEST_DATA']}/no-redis.sock")

# tests ask faster than people do; those of the limits set their own
for kind in ("PERSON", "TOKEN", "ADDRESS", "WRONG_TOKEN"):
    os.environ.setdefault(f"WEBXEN_RATE_{kind}", "1000000")

from webxen.settings import *  # noqa: E402, F403  the environment above must stand first
from webxen.settings import DATABASES, STATIC_ROOT  # noqa: E402

# whitenoise warns of a missing folder, and warnings are errors
STATIC_ROOT.mkdir(parents=True, exist_ok=True)

# Argon2 is slow on purpose; that is not what the tests are about
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # a file, as in the product: an in-memory database locks differently
    DATABASES["default"]["TEST"] = {"NAME": f"{os.environ['WEBXEN_DATA']}/test.sqlite3"}
    # what is written may be lost with the machine
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"  # type: ignore[index]
# looked for when one is asked for: the product reads the folder once, a test's client would once a test
WHITENOISE_AUTOREFRESH = True
