"""The key and the certificate by which a host's relay is known to the other end of a move.

Lives here: making them, once, and the two TLS contexts. A certificate is not believed because of who
signed it: it is this one, byte for byte, or it is nobody.
"""

import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from worker.files import write_durably

#: it is pinned, so its dates mean nothing; a host whose clock is wrong must be able to move machines
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
        return self._certificate.read_text()

    def context(self, peer: str, *, is_server: bool) -> ssl.SSLContext:
        """TLS 1.3 with this one peer. Raises ValueError for what is no certificate."""
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
            context.num_tickets = 0  # no connection is ever taken up again
        return context


def is_peer(connection: ssl.SSLSocket, certificate: str) -> bool:
    """Is the other end exactly the one that was named?"""
    return connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(certificate)


def make() -> tuple[bytes, bytes]:
    """A fresh key and its certificate, in PEM."""
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
        # it stands for itself in the other side's list of trusted ones, which OpenSSL calls a CA
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
