"""Settings of the tests: invented secrets, a separate folder, cheap password hashes.

Changes only what would be slow, shared or outside of this machine; behaviour stays the same.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "WEBXEN_TEST_DATA" not in os.environ:
    # xdist's workers use the folder of the process that created it, which also deletes it
    os.environ["WEBXEN_TEST_DATA"] = tempfile.mkdtemp(prefix="webxen-tests-")
    atexit.register(shutil.rmtree, os.environ["WEBXEN_TEST_DATA"], ignore_errors=True)
# the lab's images and first boot are kept between runs, where `make up` has them
os.environ.setdefault("WEBXEN_LAB_DATA", os.environ.get("WEBXEN_DATA", ".webxen"))
# one folder per process: the portal creates its key there
DATA = Path(os.environ["WEBXEN_TEST_DATA"], os.environ.get("PYTEST_XDIST_WORKER", "main"))
os.environ["WEBXEN_DATA"] = str(DATA)
DATA.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("WEBXEN_SECRET_KEY", "only-for-tests-0123456789-0123456789-0123456789-0123456789")
# nothing listens there: a test that needs a broker starts one
os.environ.setdefault("WEBXEN_REDIS_URL", f"unix://{os.environ['WEBXEN_TEST_DATA']}/no-redis.sock")

# tests send requests faster than users; tests of the limits set their own
for kind in ("PERSON", "TOKEN", "ADDRESS", "WRONG_TOKEN"):
    os.environ.setdefault(f"WEBXEN_RATE_{kind}", "1000000")

from webxen.settings import *  # noqa: E402, F403  the environment above must stand first
from webxen.settings import DATABASES, STATIC_ROOT  # noqa: E402

# whitenoise warns about a missing folder, and warnings are errors
STATIC_ROOT.mkdir(parents=True, exist_ok=True)

# Argon2 is slow by design
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # a file, as in production: an in-memory database locks differently
    DATABASES["default"]["TEST"] = {"NAME": f"{os.environ['WEBXEN_DATA']}/test.sqlite3"}
    # durability is not needed
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"  # type: ignore[index]
# searched per request: the product reads the folder once, but a test client would once per test
WHITENOISE_AUTOREFRESH = True
