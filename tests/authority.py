"""Certificates of an authority of a test's own."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import NameOID

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


class Authority:
    """Signs certificates; ``file`` is its own."""

    def __init__(self, folder):
        self.folder, self.key = folder, generate_private_key(SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        own = self._signed(self.name, self.key, 90, [(x509.BasicConstraints(True, 0), True)])
        self.file = folder / "authority.pem"
        self.file.write_bytes(own.public_bytes(PEM))

    def sign(self, *, days=30, encrypted=False, also=()):
        """(certificate, key): the files of one for this machine and the names ``also``, in place of what is there."""
        key, files = generate_private_key(SECP256R1()), (self.folder / "node.pem", self.folder / "node.key")
        hosts = [x509.DNSName(each) for each in ("localhost", *also)]
        names = x509.SubjectAlternativeName([*hosts, x509.IPAddress(ip_address("127.0.0.1"))])
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        lock = serialization.BestAvailableEncryption(b"x") if encrypted else serialization.NoEncryption()
        files[0].write_bytes(self._signed(name, key, days, [(names, False)]).public_bytes(PEM))
        files[1].write_bytes(key.private_bytes(PEM, PKCS8, lock))
        files[1].chmod(0o600)
        return files

    def _signed(self, name, key, days, extensions):
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            self.name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=60),
            now + timedelta(days=days),
        )  # fmt: skip
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())
