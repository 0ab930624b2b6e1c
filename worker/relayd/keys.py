"""The key and certificate by which another host recognizes this host's relay.

Creates them once, and makes the TLS contexts. A certificate is not trusted because of its issuer: it must
equal the expected one byte for byte.
"""

import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from worker.files import write_durably

#: the certificate is pinned, so its dates do not matter; a host with a wrong clock must be able to migrate
#: machines
BEGIN = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


class Identity:
    """Key and certificate of this host's relay, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._key, self._certificate = directory / "relay.key", directory / "relay.crt"
        if not self._certificate.exists():
            key, certificate = make()
            write_durably(self._key, key)
            write_durably(self._certificate, certificate)

    @property
    def certificate(self) -> str:
        """The certificate in PEM. Raises OSError."""
        return self._certificate.read_text()

    def context(self, peer: str, *, is_server: bool) -> ssl.SSLContext:
        """A TLS 1.3 context that trusts this one peer (PEM). Raises ValueError if the PEM cannot be read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._certificate, self._key)
        try:
            context.load_verify_locations(cadata=peer)
        except ssl.SSLError as error:
            raise ValueError(f"the certificate of the other host cannot be read: {error}") from None
        if is_server:
            context.num_tickets = 0  # sessions are never resumed
        return context


def is_peer(connection: ssl.SSLSocket, certificate: str) -> bool:
    """Whether the peer presented exactly this certificate."""
    return connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(certificate)


def make() -> tuple[bytes, bytes]:
    """A new key and its certificate, in PEM."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WebXen relay")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        # the other side loads it as its only trusted certificate, which OpenSSL requires to be a CA
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, None)
    )
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
    )
