"""TLS of this node: certificate and key are read and checked at the start, and again when they change.

A renewal needs no restart: new connections get the new certificate. One that is wrong changes nothing, but for a line
in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from atoll.engine.errors import AtollError
from atoll.node.config import HttpSection
from atoll.node.errors import ConfigError
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

log = logging.getLogger("atoll.http")
LOOK_EVERY = 60.0  # seconds
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all good


class TlsWrong(ConfigError):
    """``key``, of the section ``http``, is that which is wrong, in those ``words``."""

    def __init__(self, key: str, words: str, hint: str | None = None) -> None:
        super().__init__(f"http.{key}: {words}", hint=hint)
        self.key = key
        self.words = words


class Tls:
    """``context`` is for the listening socket; ``fingerprint`` (SHA-256, hex) is that of the certificate in force."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """TlsWrong says what is wrong with the files; blocking."""
        self._files = (certificate, key)
        self._seen: tuple[tuple[int, int] | None, ...] = self._stamps()
        self._current, self.fingerprint, self.expires_at = _read(*self._files)
        self.context = _context(*self._files)
        self.context.sni_callback = self._choose
        self._listeners: list[Callable[[], object]] = []

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` when another certificate is in force, in a thread."""
        self._listeners.append(listener)

    @classmethod
    def of(cls, config: HttpSection, home: Path) -> Tls | None:
        """None where the configuration names no files; TlsWrong as for these."""
        names = {"tls_certificate": config.tls_certificate, "tls_key": config.tls_key}
        given = [key for key, name in names.items() if name]
        if not given:
            return None
        if len(given) == 1:
            (missing,) = names.keys() - given
            raise TlsWrong(given[0], f"without http.{missing} it is of no use", f"set http.{missing} too, or neither")
        return cls(home / config.tls_certificate, home / config.tls_key)

    def reload(self) -> bool:
        """Read the files anew; whether they are good, and in force from now on. Blocking."""
        self._seen = self._stamps()
        try:
            self._current, self.fingerprint, self.expires_at = _read(*self._files)
        except AtollError as error:
            log.error("the TLS certificate was not read anew, the one before stays: %s", error.message)
            return False
        log.info("the TLS certificate was read anew", extra={"expires": self.expires_at.isoformat()})
        for listener in self._listeners:
            listener()
        return True

    async def watch(self, again: asyncio.Event) -> None:
        """Reload whenever a file has changed, or at once when ``again`` is set; until cancelled. What fails is tried
        again at the next look: who misses a renewal is without a certificate one day."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await again.wait()
            try:
                if again.is_set() or self._seen != await asyncio.to_thread(self._stamps):
                    again.clear()
                    await asyncio.to_thread(self.reload)
            except Exception as error:  # of the system, of the listeners, of the library that reads certificates
                log.exception("the TLS certificate could not be read anew, or not be told", exc_info=error)
                self._seen = ()

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Every handshake takes the certificate that is in force."""
        connection.context = self._current

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


def _read(certificate: Path, key: Path) -> tuple[ssl.SSLContext, str, datetime]:
    chain, secret = _bytes("tls_certificate", certificate), _bytes("tls_key", key)
    if key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise TlsWrong("tls_key", f"anybody on this machine can read {key}", f"chmod 640 {key}")
    leaf = _certificate(certificate, chain)
    _require_key_of(leaf, key, secret)
    now = datetime.now(UTC)
    if now >= leaf.not_valid_after_utc:
        ended = leaf.not_valid_after_utc.isoformat()
        raise TlsWrong("tls_certificate", f"{certificate} has expired, on {ended}", "renew it")
    if now < leaf.not_valid_before_utc:
        begins = leaf.not_valid_before_utc.isoformat()
        raise TlsWrong("tls_certificate", f"{certificate} is valid from {begins} on", "is the clock right?")
    return _context(certificate, key), leaf.fingerprint(hashes.SHA256()).hex(), leaf.not_valid_after_utc


def _bytes(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "the user that runs the node must be able to read it"
        raise TlsWrong(key, f"{path} cannot be read: {error.strerror}", hint) from None


def _certificate(path: Path, chain: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        hint = "it begins with -----BEGIN CERTIFICATE-----, the node's own first, then those between it and its root"
        raise TlsWrong("tls_certificate", f"{path} holds no certificates in PEM", hint) from None


def _require_key_of(leaf: x509.Certificate, path: Path, secret: bytes) -> None:
    try:
        key = serialization.load_pem_private_key(secret, None)
    except TypeError:
        raise TlsWrong("tls_key", f"{path} is encrypted", "store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsWrong("tls_key", f"{path} holds no private key in PEM") from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise TlsWrong(
            "tls_key", f"{path} is not the key of the certificate", "the first certificate must be the node's"
        )


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise TlsWrong("tls_certificate", f"{certificate} and its key are not taken: {error}") from None
    return context


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
