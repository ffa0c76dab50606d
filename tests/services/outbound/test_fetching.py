"""Files fetched by URL from a real server of this machine: what is stored, what is refused, and that a name is looked up once."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vogue.schemas.errors import LimitExceeded, UrlRefused, UrlUnreachable
from vogue.services.blobs import BlobStore
from vogue.services.dialing import Dialer
from vogue.services.fetching import Fetcher
from vogue.services.outbound import UrlInputConfig

MAX_BYTES = 1000


class Fetching:
    """A fetcher before the test's own server."""

    def __init__(
        self, blobs: BlobStore, web: Any, dial: Any, settings: dict[str, Any], options: dict[str, Any]
    ) -> None:
        self.blobs = blobs
        self.rules = UrlInputConfig(**({"enabled": True, "ports": (web.port,)} | settings))
        self.fetcher = Fetcher(blobs, self.rules, MAX_BYTES, dial(self.rules, **options))

    def left_over(self) -> list[Path]:
        """Scratch files and blobs."""
        return [path for path in self.blobs.root.rglob("*") if path.is_file()]


@pytest.fixture
def fetching(tmp_path: Path, web: Any, dial: Any) -> Any:
    def made(options: dict[str, Any] | None = None, **settings: Any) -> Fetching:
        return Fetching(BlobStore(tmp_path / "store"), web, dial, settings, options or {})

    return made


async def test_a_file_is_stored_as_it_comes(web: Any, fetching: Any, reply: Any) -> None:
    web.replies["/pictures/a%20star.png"] = reply(pieces=[b"a" * 400, b"b" * 600])
    made = fetching()
    found = await made.fetcher.fetch(f"{web.url}/pictures/a%20star.png?size=1#here", "image_url")
    assert bytes(made.blobs.get(found.original)) == b"a" * 400 + b"b" * 600
    assert (found.filename, found.original.media_type) == ("a star.png", "application/octet-stream")
    (call,) = web.calls
    assert (call.method, call.target) == ("GET", "/pictures/a%20star.png?size=1")
    assert call.headers["host"] == f"media.test:{web.port}"
    assert not {"cookie", "authorization", "referer"} & call.headers.keys()


async def test_redirects_are_followed_a_few_times(web: Any, fetching: Any, reply: Any) -> None:
    web.replies |= {
        "/1": reply(302, {"location": "/2"}),
        "/2": reply(301, {"location": f"{web.url}/3", "set-cookie": "a=b"}),
        "/3": reply(pieces=[b"here"]),
        "/round": reply(307, {"location": "/round"}),
    }
    made = fetching(max_redirects=2)
    assert (await made.fetcher.fetch(f"{web.url}/1")).original.num_bytes == 4
    assert "cookie" not in web.calls[-1].headers
    with pytest.raises(UrlRefused, match="redirects more than 2 times"):
        await made.fetcher.fetch(f"{web.url}/round", "url")
    assert [call.target for call in web.calls] == ["/1", "/2", "/3", "/round", "/round", "/round"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://127.0.0.2:{port}/", "leads to an address that is not public"),
        ("http://[::1]:{port}/", "leads to an address that is not public"),
        ("http://[::ffff:127.0.0.1]:{port}/", "leads to an address that is not public"),
        ("http://10.0.0.1:{port}/", "leads to an address that is not public"),
        ("http://169.254.169.254:{port}/latest/meta-data/", "leads to an address that is not public"),
        ("http://metadata.test:{port}/", "leads to an address that is not public"),
        ("http://mixed.test:{port}/", "leads to an address that is not public"),
        ("http://media.test:1/", "has port 1"),
        ("file:///etc/passwd", "not a URL"),
        ("gopher://media.test/", "'gopher' is no scheme"),
        ("http://me:you@media.test:{port}/", "name or password"),
        ("http://[", "no URL|not a URL"),
    ],
)
async def test_redirects_are_checked_as_the_first_url_was(
    web: Any, fetching: Any, reply: Any, resolving: Any, location: str, why: str
) -> None:
    web.replies["/"] = reply(302, {"location": location.format(port=web.port)})
    known = {"media.test": ["127.0.0.1"], "metadata.test": ["169.254.169.254"], "mixed.test": ["127.0.0.1", "10.0.0.1"]}
    made = fetching({"resolve": resolving(known)})
    with pytest.raises(UrlRefused, match=why) as caught:
        await made.fetcher.fetch(f"{web.url}/", "visuals.0")
    assert caught.value.param == "visuals.0" and len(web.calls) == 1
    assert "169.254" not in caught.value.message or "169.254" in location
    assert made.left_over() == []


async def test_a_name_that_changes_its_mind_is_asked_once_for_each_connection(
    web: Any, fetching: Any, reply: Any
) -> None:
    asked: list[str] = []

    async def rebinding(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    web.replies |= {"/": reply(pieces=[b"x"]), "/again": reply(302, {"location": "/"})}
    made = fetching({"resolve": rebinding})
    assert (await made.fetcher.fetch(f"{web.url}/")).original.num_bytes == 1
    assert asked == ["media.test"], "between the check and the connection nobody is asked again"
    asked.clear()
    with pytest.raises(UrlRefused, match="not public"):
        await made.fetcher.fetch(f"{web.url}/again")
    assert asked == ["media.test"] * 2 and len(web.calls) == 2


async def test_by_default_nothing_of_this_machine_is_called(web: Any, tmp_path: Path, reply: Any) -> None:
    web.replies["/"] = reply(pieces=[b"secret"])
    rules = UrlInputConfig(enabled=True, ports=(web.port,))
    fetcher = Fetcher(BlobStore(tmp_path), rules, MAX_BYTES)
    for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0", "[::1]", "[::ffff:7f00:1]"):
        with pytest.raises(UrlRefused, match="not public"):
            await fetcher.fetch(f"http://{host}:{web.port}/")
    assert web.calls == []


async def test_a_public_address_of_this_very_machine_is_not_called(web: Any, fetching: Any) -> None:
    # The policy takes 127.0.0.1 for public here, as a machine's own address may be.
    with pytest.raises(UrlRefused, match="not public"):
        await fetching({"calls_itself": False}).fetcher.fetch(f"{web.url}/")
    assert web.calls == []


async def test_operators_keep_networks_and_hosts_out(web: Any, fetching: Any) -> None:
    with pytest.raises(UrlRefused, match="not public"):
        await fetching(blocked_networks=("127.0.0.0/24",)).fetcher.fetch(f"{web.url}/")
    with pytest.raises(UrlRefused, match="not one of the hosts"):
        await fetching(hosts=("cdn.test",)).fetcher.fetch(f"{web.url}/")
    with pytest.raises(UrlRefused, match="calls: https only"):
        await fetching(schemes=("https",)).fetcher.fetch(f"{web.url}/")
    assert web.calls == []


@pytest.mark.parametrize("announced", [True, False])
async def test_a_file_that_is_too_large_is_not_read_to_its_end(
    web: Any, fetching: Any, reply: Any, announced: bool
) -> None:
    headers = {"content-length": "1001"} if announced else {}
    web.replies["/"] = reply(headers=headers, pieces=[b"a" * 1001], hangs=True)
    made = fetching()
    with pytest.raises(LimitExceeded, match="1000") as caught:
        await made.fetcher.fetch(f"{web.url}/", "video_url")
    assert caught.value.param == "video_url" and made.left_over() == []
    with pytest.raises(LimitExceeded, match="at most 10 " if announced else "10 bytes"):
        await fetching(max_bytes=10).fetcher.fetch(f"{web.url}/")


@pytest.mark.parametrize("slow", ["head", "body", "connection"])
async def test_time_is_limited_in_all(web: Any, fetching: Any, reply: Any, slow: str) -> None:
    async def never(*_: object) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    web.replies["/"] = reply(headers={"content-length": "50"}, pieces=[b"a"], hangs=True)
    options: dict[str, Any] = {"resolve": never} if slow == "connection" else {}
    made = fetching(options, timeout_s=0.3)
    with pytest.raises(UrlUnreachable, match=r"within 0\.3 s|in time") as caught:
        await made.fetcher.fetch(f"{web.url}/", "url")
    assert caught.value.param == "url" and made.left_over() == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 404}, "answered 404"),
        ({"status": 500}, "answered 500"),
        ({"status": 206, "pieces": [b"part"]}, "answered 206"),
        ({"status": 302}, "answered 302"),
        ({"headers": {"content-encoding": "gzip"}, "pieces": [b"\x1f\x8b"]}, "encoded as 'gzip'"),
        ({"headers": {"content-length": "50"}, "pieces": [b"short"]}, "could not be read"),
        ({"headers": {"content-length": "-1"}}, "could not be read"),
    ],
)
async def test_other_answers_are_told(web: Any, fetching: Any, reply: Any, answer: dict[str, Any], why: str) -> None:
    web.replies["/"] = reply(**answer)
    made = fetching()
    with pytest.raises(UrlUnreachable, match=why):
        await made.fetcher.fetch(f"{web.url}/")
    assert made.left_over() == []


async def test_nobody_there(web: Any, fetching: Any, resolving: Any) -> None:
    with pytest.raises(UrlUnreachable, match="could not be resolved"):
        await fetching().fetcher.fetch(f"http://nowhere.test:{web.port}/")
    with pytest.raises(UrlUnreachable, match="has no address"):
        await fetching({"resolve": resolving({"media.test": []})}).fetcher.fetch(f"{web.url}/")
    with pytest.raises(UrlUnreachable, match="could not be read"):
        await fetching(ports=(1,)).fetcher.fetch("http://media.test:1/")


async def test_proxies_of_the_environment_are_not_used(
    web: Any, fetching: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    web.replies["/"] = reply(pieces=[b"x"])
    assert (await fetching().fetcher.fetch(f"{web.url}/")).original.num_bytes == 1


def _certificate(folder: Path, name: str) -> Path:
    """A certificate of a name, signed by itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    unlocked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(unlocked + made.public_bytes(serialization.Encoding.PEM))
    return path


async def test_tls_speaks_of_the_name_and_the_connection_goes_to_the_address(
    web: Any, tmp_path: Path, fetching: Any, reply: Any, resolving: Any, dial: Any
) -> None:
    path = _certificate(tmp_path, "media.test")
    served, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=path)
    served.load_cert_chain(path)
    served.sni_callback = lambda _, name, __: web.names.append(name)
    web.replies |= {"/": reply(pieces=[b"safe"]), "/down": reply(302, {"location": f"http://media.test:{web.port}/"})}
    known = resolving({"media.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    async with await asyncio.start_server(web.answer, "127.0.0.1", 0, ssl=served) as server:
        port = server.sockets[0].getsockname()[1]
        made = fetching({"resolve": known, "tls": trusting}, ports=(port, web.port))
        found = await made.fetcher.fetch(f"https://media.test:{port}/")
        assert (bytes(made.blobs.get(found.original)), web.names) == (b"safe", ["media.test"])
        assert web.calls[-1].headers["host"] == f"media.test:{port}"
        with pytest.raises(UrlUnreachable, match=r"CERTIFICATE_VERIFY_FAILED|certificate"):
            await made.fetcher.fetch(f"https://other.test:{port}/")
        with pytest.raises(UrlUnreachable, match=r"CERTIFICATE_VERIFY_FAILED|certificate"):
            await fetching({"resolve": known}, ports=(port,)).fetcher.fetch(f"https://media.test:{port}/")
        with pytest.raises(UrlRefused, match="from https to http"):
            await made.fetcher.fetch(f"https://media.test:{port}/down")


def test_the_rules_are_off_by_default() -> None:
    assert not UrlInputConfig().enabled
    assert isinstance(Dialer(UrlInputConfig()), Dialer)
