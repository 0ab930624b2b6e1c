"""The product's settings, as the tests run them: made-up secrets, a folder of their own, cheap passwords.

No behaviour is switched here; what differs is only what would be slow, shared or outside of this machine.
"""

import atexit
import os
import shutil
import tempfile

if "WEBXEN_TEST_DATA" not in os.environ:
    # xdist's workers inherit the folder and leave its end to the process that made it
    os.environ["WEBXEN_TEST_DATA"] = tempfile.mkdtemp(prefix="webxen-tests-")
    atexit.register(shutil.rmtree, os.environ["WEBXEN_TEST_DATA"], ignore_errors=True)
# the lab's images and first boot are kept from run to run, where `make up` has them
os.environ.setdefault("WEBXEN_LAB_DATA", os.environ.get("WEBXEN_DATA", ".webxen"))
os.environ["WEBXEN_DATA"] = os.environ["WEBXEN_TEST_DATA"]
os.environ.setdefault("WEBXEN_SECRET_KEY", "only-for-tests-0123456789-0123456789-0123456789-0123456789")
# nobody listens there: a test that wants a broker starts its own
os.environ.setdefault("WEBXEN_REDIS_URL", f"unix://{os.environ['WEBXEN_TEST_DATA']}/no-redis.sock")

from webxen.settings import *  # noqa: F403  the environment above must stand first
from webxen.settings import DATABASES, STATIC_ROOT

# whitenoise warns of a missing folder, and warnings are errors
STATIC_ROOT.mkdir(parents=True, exist_ok=True)

# Argon2 is slow on purpose; that is not what the tests are about
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # a file, as in the product: an in-memory database locks differently
    DATABASES["default"]["TEST"] = {"NAME": f"{os.environ['WEBXEN_TEST_DATA']}/test.sqlite3"}
