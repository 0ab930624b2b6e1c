"""Django settings, without branches on names of environments. See docs/settings.md."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from celery.schedules import crontab
from csp.constants import NONE, SELF

from webxen import env
from webxen.core import fences, windows
from worker.contract import membership

ROOT = Path(__file__).resolve().parent.parent
DATA = env.path("WEBXEN_DATA", ROOT / ".webxen")

# --- who we are --------------------------------------------------------------------------------
SECRET_KEY = env.secret("WEBXEN_SECRET_KEY")
DEBUG = env.flag("WEBXEN_DEBUG")
ALLOWED_HOSTS = env.words("WEBXEN_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("WEBXEN_TRUSTED_ORIGINS")
HTTPS = env.flag("WEBXEN_HTTPS")
#: only these proxies may set X-Forwarded-For and -Proto (webxen/asgi.py)
WEBXEN_TRUSTED_PROXIES = env.networks("WEBXEN_TRUSTED_PROXIES")

# --- the portal's own keys and broker ----------------------------------------------------------
#: Ed25519 private key (PEM) that signs orders; hosts have the public key
WEBXEN_PORTAL_KEY_FILE = env.path("WEBXEN_PORTAL_KEY_FILE", DATA / "portal.key")
#: CA certificate of the broker's certificate; hosts get it when they enrol
WEBXEN_BROKER_CA_FILE = env.text("WEBXEN_BROKER_CA_FILE", "")
WEBXEN_REDIS_URL = membership.with_ca(
    env.secret("WEBXEN_REDIS_URL", "redis://127.0.0.1:6379/0"), WEBXEN_BROKER_CA_FILE
)
#: URL of the same broker for hosts, without an account; empty: the portal's URL
WEBXEN_BROKER_PUBLIC_URL = env.text("WEBXEN_BROKER_PUBLIC_URL", "")
#: exact sentences (worker.contract.broker_policy) that allow a broker the portal would refuse
WEBXEN_ALLOW_OPEN_BROKER = env.text("WEBXEN_ALLOW_OPEN_BROKER", "")
WEBXEN_ALLOW_PLAIN_BROKER = env.text("WEBXEN_ALLOW_PLAIN_BROKER", "")
#: an order expires after this many seconds; the sweep signs it again
WEBXEN_ORDER_TTL_SECONDS = env.number("WEBXEN_ORDER_TTL_SECONDS", 300)
#: a job waits this many seconds for a host that does not answer; then staff must check
WEBXEN_HOST_TIMEOUT_SECONDS = env.number("WEBXEN_HOST_TIMEOUT_SECONDS", 900)
#: requests that write and are handled at once; others are queued
WEBXEN_WRITER_THREADS = env.number("WEBXEN_WRITER_THREADS", 8)
#: requests that read and are handled at once; others are queued
WEBXEN_READER_THREADS = env.number("WEBXEN_READER_THREADS", 8)
#: maximum bytes of a request body, and seconds it may take to arrive
WEBXEN_BODY_BYTES = env.number("WEBXEN_BODY_BYTES", 256 * 1024)
WEBXEN_ANONYMOUS_BODY_BYTES = env.number("WEBXEN_ANONYMOUS_BODY_BYTES", 32 * 1024)
WEBXEN_BODY_SECONDS = env.number("WEBXEN_BODY_SECONDS", 10)
#: maximum number of HTTP connections of one web process
WEBXEN_CONNECTIONS = env.number("WEBXEN_CONNECTIONS", 1500)
#: maximum number of waiting reads (`?wait=`) in one web process, and of one user
WEBXEN_HELD_READS = env.number("WEBXEN_HELD_READS", 200)
WEBXEN_HELD_READS_PER_PERSON = env.number("WEBXEN_HELD_READS_PER_PERSON", 5)
#: pending machine requests of one user
WEBXEN_PENDING_REQUESTS = env.number("WEBXEN_PENDING_REQUESTS", 20)
#: event sockets of one user in one web process
WEBXEN_EVENT_SOCKETS = env.number("WEBXEN_EVENT_SOCKETS", 20)
#: a QUEUED job that no host has started is sent again after this many seconds
WEBXEN_RESEND_SECONDS = env.number("WEBXEN_RESEND_SECONDS", 30)
#: a host without reports for this long counts as silent
WEBXEN_SILENT_SECONDS = env.number("WEBXEN_SILENT_SECONDS", 30)
#: networks in which a host's migration relay may be; empty: every address except loopback, link-local,
#: multicast and reserved ones
WEBXEN_RELAY_NETWORKS = env.networks("WEBXEN_RELAY_NETWORKS")
#: where new machines' disks are created: LOCAL, on their host; SHARED, in a shared pool if there is space,
#: otherwise on their host
WEBXEN_NEW_DISKS = env.choice("WEBXEN_NEW_DISKS", "LOCAL", ("LOCAL", "SHARED"))
#: memory kept free on a host when placing machines
WEBXEN_HOST_RESERVE_MIB = env.number("WEBXEN_HOST_RESERVE_MIB", 64)
# maximum number of migrations from, and to, one host at the same time
WEBXEN_MOVES_PER_HOST = env.number("WEBXEN_MOVES_PER_HOST", 1)
# speed limit of migrations in MiB/s; 0: none
WEBXEN_MOVE_RATE_MIB_S = env.number("WEBXEN_MOVE_RATE_MIB_S", 0)
#: disk space that may be promised, as a multiple of the pool's size, for pools with sparse disks
WEBXEN_DISK_RATIO = env.ratio("WEBXEN_DISK_RATIO", 1.0)
#: vCPUs that may be promised per processor of a host; 0: no limit
WEBXEN_VCPU_RATIO = env.number("WEBXEN_VCPU_RATIO", 16)
# COMMON: machines get the CPU features that all hosts have; HOST: those of their host
WEBXEN_CPU_LEVEL = env.choice("WEBXEN_CPU_LEVEL", "COMMON", ("COMMON", "HOST"))
# PREFER: a less even cluster is accepted to keep N+1 (any one host may fail)
WEBXEN_PLACEMENT_N1 = env.choice("WEBXEN_PLACEMENT_N1", "PREFER", ("PREFER", "IGNORE"))
#: when migrations that balance the hosts run automatically; None: only after approval
WEBXEN_BALANCE_WINDOW = windows.read("WEBXEN_BALANCE_WINDOW", env.text("WEBXEN_BALANCE_WINDOW", ""))
#: minimum gain of such a migration, in per cent
WEBXEN_BALANCE_MIN_GAIN = env.percentage("WEBXEN_BALANCE_MIN_GAIN", 5)
#: fence agents by host name; docs/operating.md describes the file
WEBXEN_FENCES = fences.read("WEBXEN_FENCE_FILE", env.text("WEBXEN_FENCE_FILE", ""))
#: directory of the fence agents
WEBXEN_FENCE_DIR = env.path("WEBXEN_FENCE_DIR", Path("/usr/sbin"))
#: maximum seconds for one answer of an agent
WEBXEN_FENCE_SECONDS = env.number("WEBXEN_FENCE_SECONDS", 60)

# --- retention, in days; docs/operating.md has the whole list ------------------------------------
#: events of ended jobs
WEBXEN_KEEP_EVENTS_DAYS = env.number_from("WEBXEN_KEEP_EVENTS_DAYS", 90, least=1)
#: ended jobs, migrations, evacuations, fencings and requests; longer than hosts keep jobs (30 days)
WEBXEN_KEEP_JOBS_DAYS = env.number_from("WEBXEN_KEEP_JOBS_DAYS", 400, least=60)
#: the audit, longer than everything else
WEBXEN_KEEP_AUDIT_DAYS = env.number_from("WEBXEN_KEEP_AUDIT_DAYS", 1830, least=WEBXEN_KEEP_JOBS_DAYS)
#: the nightly task stops after this many seconds and continues the next night
WEBXEN_TIDY_SECONDS = env.number_from("WEBXEN_TIDY_SECONDS", 600, least=1)

# --- Django ------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "webxen.accounts",  # before Django's: overrides its command changepassword
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "crispy_forms",
    "crispy_bootstrap5",
    "django_htmx",
    "csp",
    *("webxen.core", "webxen.inventory", "webxen.quotas", "webxen.machines", "webxen.jobs"),
    *("webxen.migration", "webxen.enrolment", "webxen.approvals", "webxen.fleet", "webxen.diagnostics"),
    *("webxen.recovery", "webxen.inbox", "webxen.console", "webxen.api", "webxen.web"),
]
MIDDLEWARE = [
    "webxen.core.middleware.note_request",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "webxen.web.odd_text.refuse_odd_text",
]
ROOT_URLCONF = "webxen.urls"
ASGI_APPLICATION = "webxen.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # before allauth's own templates
        "DIRS": [ROOT / "webxen" / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "webxen.web.layout.shell",
            ],
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _database(url: str) -> dict[str, object]:
    """Parse postgres://user:password@host:port/name (or ?host=/socket/dir), or sqlite:///path."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": parts.path,
            # IMMEDIATE + WAL: four writing processes saw no "database is locked"
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(query.get("host", parts.hostname or "")),
        "PORT": str(parts.port or ""),
        "CONN_HEALTH_CHECKS": True,
        # an answer within five seconds, even if a row is locked or the server is unreachable
        "OPTIONS": {"options": "-c lock_timeout=4000", "connect_timeout": 4},
    }


DATABASES = {"default": _database(env.text("WEBXEN_DATABASE_URL", f"sqlite://{DATA}/webxen.sqlite3"))}

# --- counters of limits, shared by all processes ------------------------------------------------
CACHES = {
    "default": {
        "BACKEND": "webxen.core.cache.SharedCache",
        "LOCATION": WEBXEN_REDIS_URL,
        "KEY_PREFIX": "webxen.cache",
        "OPTIONS": {
            "serializer": "webxen.core.cache.JsonSerializer",
            "socket_connect_timeout": 1,
            "socket_timeout": 1,
        },
    }
}

# --- users and sign-in -------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
# allauth's backend includes Django's; both would hash each password twice
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "webxen.accounts.hashers.Argon2",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "webxen.accounts.adapter.ClosedSignup"
ACCOUNT_LOGOUT_ON_GET = False
# failed sign-ins: per address, and per address and account (webxen.accounts.adapter)
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/m/key"}
# there is no mail server to verify addresses with
MFA_ALLOW_UNVERIFIED_EMAIL = True
ACCOUNT_FORMS = {"change_password": "webxen.web.account_forms.ChangePassword"}
MFA_FORMS = {
    "authenticate": "webxen.web.account_forms.SecondFactor",
    "reauthenticate": "webxen.web.account_forms.SecondFactorAgain",
}

#: maximum number of API tokens per user, without expired ones
WEBXEN_TOKENS_PER_PERSON = env.number("WEBXEN_TOKENS_PER_PERSON", 50)

# --- sessions, cookies, headers ----------------------------------------------------------------
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
CSRF_FAILURE_VIEW = "webxen.web.error_pages.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
    }
}

# --- languages and time zone ----------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LOCALE_PATHS = [ROOT / "webxen" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- files -------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = env.path("WEBXEN_STATIC_ROOT", DATA / "static")
STATICFILES_DIRS = [ROOT / "webxen" / "static"]
WHITENOISE_USE_FINDERS = True

# --- forms and API -----------------------------------------------------------------------------
CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"
DATA_UPLOAD_MAX_MEMORY_SIZE = WEBXEN_BODY_BYTES
FILE_UPLOAD_MAX_MEMORY_SIZE = WEBXEN_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "webxen.api.authentication.BearerToken",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["webxen.api.parsers.StrictJSON"],
    "EXCEPTION_HANDLER": "webxen.api.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "DEFAULT_THROTTLE_CLASSES": [
        "webxen.api.throttles.PersonThrottle",
        "webxen.api.throttles.TokenThrottle",
        "webxen.api.throttles.AddressThrottle",
    ],
    # requests per minute, over all web processes
    "DEFAULT_THROTTLE_RATES": {
        "person": f"{env.number('WEBXEN_RATE_PERSON', 2400)}/min",
        "token": f"{env.number('WEBXEN_RATE_TOKEN', 1200)}/min",
        "address": f"{env.number('WEBXEN_RATE_ADDRESS', 300)}/min",
        "wrong_token": f"{env.number('WEBXEN_RATE_WRONG_TOKEN', 60)}/min",
    },
}
SPECTACULAR_SETTINGS = {
    # the same enum in two components needs a name of its own
    "ENUM_NAME_OVERRIDES": {"RequestStatusEnum": "webxen.approvals.models.MachineRequest.Status"},
    "TITLE": "WebXen",
    "DESCRIPTION": "Virtual machines on plain Xen.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Celery ------------------------------------------------------------------------------------
CELERY_BROKER_URL = WEBXEN_REDIS_URL.replace("unix://", "redis+socket://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Celery would give up after the hundredth attempt
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# retry whatever error the broker returns: busy, out of memory, read-only, loading, refused
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # redis-py 8 aborts a blocking read after 5 s by default
    "socket_timeout": 30,
    "socket_connect_timeout": 2,
}
# queue of periodic tasks: hosts cannot write to it, and their messages do not delay it
CELERY_TASK_DEFAULT_QUEUE = "clock"
CELERY_WORKER_POOL = "solo"
CELERY_IMPORTS = ("webxen.tidy",)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA / "beat-schedule")


def _every(seconds: int, task: str) -> dict[str, object]:
    """Expires when the next one is due; only the newest is queued (webxen/core/transport.py)."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds, "headers": {"slot": task}}}


CELERY_BEAT_SCHEDULE = {
    "sweep": _every(10, "webxen.sweep"),
    "watch": _every(5, "webxen.watch"),
    "tend": _every(30, "webxen.tend"),
    "balance": _every(60, "webxen.balance"),
    "fence": _every(5, "webxen.fence"),
    "compute": _every(300, "webxen.compute"),
    "tidy": {
        "task": "webxen.tidy",
        "schedule": crontab(hour=3, minute=10),
        "options": {"expires": 3600, "headers": {"slot": "webxen.tidy"}},
    },
}

# --- channel layer: small UI hints only, never console bytes ------------------------------------
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [WEBXEN_REDIS_URL]},
    }
}

# --- logs: one JSON line each ------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "webxen.core.logs.json_formatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["console"], "level": env.text("WEBXEN_LOG_LEVEL", "INFO")},
    "loggers": {
        # these have handlers of their own with another format
        **{
            name: {"handlers": [], "propagate": True}
            for name in ("django", "django.server", "uvicorn", "uvicorn.error", "uvicorn.access")
        },
        # two lines per message of each host, one per tick; failures are logged in any case
        **{
            name: {"level": "WARNING"}
            for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat")
        },
    },
}
