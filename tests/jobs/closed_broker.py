"""A real Redis with an access list, no default user, a loopback port, and TLS on request.

The portal's account may do everything; a host's has the rules of worker.contract.membership.
"""

import contextlib
import ipaddress
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import RedisError

from worker.contract import membership

PORTAL_PASSWORD = "the-portals-own-password-of-this-test"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificate(folder: Path) -> Path:
    """Create a key and a self-signed certificate for 127.0.0.1; return its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a broker of a test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "tls.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder / "tls.crt"


class ClosedBroker:
    def __init__(self, folder: Path, *, hosts: dict[str, str] | None = None, is_tls: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self.scheme = "rediss" if is_tls else "redis"
        self.ca_file = make_certificate(folder) if is_tls else None
        lines = ["user default off ~* &* +@all", f"user portal on >{PORTAL_PASSWORD} ~* &* +@all"]
        for host, password in (hosts or {}).items():
            rules = " ".join(membership.account_rules(host))
            lines.append(f"user {membership.account_name(host)} on >{password} {rules}")
        (folder / "users.acl").write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "these tests need redis-server"
        listen = ["--port", str(self.port)]
        if self.ca_file:
            listen = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            listen += ["--tls-cert-file", str(self.ca_file), "--tls-key-file", str(self.folder / "tls.key")]
        common = ["--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), "--loglevel", "warning"]
        common += ["--aclfile", str(self.folder / "users.acl")]
        self.process = subprocess.Popen(
            [program, *listen, *common],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not self._is_up():
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.05)

    def _is_up(self) -> bool:
        with contextlib.suppress(RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    @property
    def url(self) -> str:
        """A connection without an account."""
        return f"{self.scheme}://127.0.0.1:{self.port}/0"

    def url_for(self, user: str, password: str) -> str:
        return self.url.replace("://", f"://{user}:{password}@")

    @property
    def portal_url(self) -> str:
        return self.url_for("portal", PORTAL_PASSWORD)

    def client(self, user: str = "portal", password: str = PORTAL_PASSWORD) -> Redis:
        options = {"ssl_ca_certs": str(self.ca_file)} if self.ca_file else {}
        return Redis.from_url(self.url_for(user, password), protocol=2, **options)
