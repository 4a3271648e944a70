"""Where the vendor is and how to speak to it: what a connection comes down to."""

import ssl
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
from pydantic import SecretStr

from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from airflow_provider_spark.api.text import clean, is_web_url, show_url

DEFAULT_BASE_URL = "https://cloud.vtrix.ai"


@dataclass(frozen=True)
class Endpoint:
    """A base URL, the key that goes there and nowhere else, and how to get there.

    The key and the proxy (whose URL may hold a password) are wrapped on the way in, so that no repr, log or `asdict`
    shows them.

    Raises SparkDanceConfigurationError for a key that can't go into a header, and for URLs that are none.
    """

    api_key: SecretStr | str
    base_url: str = DEFAULT_BASE_URL
    request_timeout: float = 30
    """Seconds for each step of a call: connect, write, and the whole of the reply."""
    verify: bool | str = True
    """Whether to check the vendor's certificate, or a file or folder of the authorities to check it against."""
    proxy: SecretStr | str | None = None
    """URL of a proxy. None leaves it to the environment (HTTPS_PROXY, NO_PROXY), but for a loopback host."""

    def __post_init__(self) -> None:
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", SecretStr(self.api_key))
        if isinstance(self.proxy, str):
            object.__setattr__(self, "proxy", SecretStr(self.proxy))
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        key = self.key
        if not key or key != key.strip() or not (key.isascii() and key.isprintable()):
            raise SparkDanceConfigurationError(
                "The API key can't go into an HTTP header: it is empty, has white space around it, or holds something"
                " else than printable ASCII. Put it into the connection's password as the vendor shows it."
            )
        if not _is_base_url(self.base_url):
            raise SparkDanceConfigurationError(
                "The host must be a plain http or https URL without credentials or a query, not"
                f" {show_url(self.base_url)}"
            )
        if self.proxy_url is not None and not _is_proxy(self.proxy_url):
            raise SparkDanceConfigurationError("The proxy must be an http, https, socks5 or socks5h URL with a host.")
        if not 0 < self.request_timeout < float("inf"):
            raise SparkDanceConfigurationError(f"request_timeout must be above 0 seconds, not {self.request_timeout}")

    @property
    def key(self) -> str:
        """The API key itself, for the Authorization header."""
        return self.api_key if isinstance(self.api_key, str) else self.api_key.get_secret_value()

    @property
    def proxy_url(self) -> str | None:
        """The proxy's URL itself, its password included."""
        return self.proxy.get_secret_value() if isinstance(self.proxy, SecretStr) else self.proxy

    @property
    def is_loopback(self) -> bool:
        """Whether the vendor is on this machine, as the emulator is: then no proxy of the environment is used."""
        return is_loopback(self.base_url)

    def scrub(self, text: str, limit: int = 300) -> str:
        """Text of a stranger on one line, without the key and the proxy's credentials."""
        password = urlsplit(self.proxy_url).password if self.proxy_url else None
        for secret in (self.key, quote(self.key, safe=""), password):
            if secret:
                text = text.replace(secret, "***")
        return clean(text, limit)

    def tls(self) -> ssl.SSLContext:
        """Give the TLS context for `verify`, one a process: each costs 19 ms and 0.8 MB.

        Raises SparkDanceConfigurationError where `verify` names no readable certificates.
        """
        try:
            return _tls(self.verify)
        except OSError as error:
            raise SparkDanceConfigurationError(
                f"verify must be true, false or the path of a certificate bundle: {clean(str(error))}"
            ) from None


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@cache
def _tls(verify: bool | str) -> ssl.SSLContext:
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify=verify)
    if Path(verify).is_dir():
        return ssl.create_default_context(capath=verify)
    return ssl.create_default_context(cafile=verify)


def _is_base_url(url: str) -> bool:
    if not is_web_url(url) or any(mark in url for mark in "@?#"):
        return False
    try:
        # A name that no resolver takes fails here, before an order could seem to be on its way.
        httpx.URL(url).raw_host.decode().encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        return False
    return True


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https", "socks5", "socks5h") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
