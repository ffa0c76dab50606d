"""Which addresses may be called: none that is not the public internet's own, in whichever clothes it comes."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.schemas.errors import UrlRefused, VogueError
from vogue.services.addresses import outside, public_only
from vogue.services.dialing import check_url
from vogue.services.outbound import OutboundConfig

REFUSED = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.7", "192.88.99.1", "192.168.1.1"),
    *("198.18.0.1", "198.51.100.9", "203.0.113.5", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1"),
    *("64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    *("2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254"),
    *("fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:10.0.0.1"),
    *("2606:4700::1%1",),
]
ALLOWED = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_public_is_refused(text: str) -> None:
    assert not public_only(ip_address(text))


@pytest.mark.parametrize("text", ALLOWED)
def test_what_is_public_is_allowed(text: str) -> None:
    assert public_only(ip_address(text))


@given(st.ip_addresses())
def test_no_address_passes_that_python_knows_to_be_special(address: IPv4Address | IPv6Address) -> None:
    special = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved", "is_unspecified")
    if any(getattr(address, name) for name in special):
        assert not public_only(address)


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_never_followed(inner: IPv4Address) -> None:
    number = int(inner)
    for prefix, shift in (
        ("::", 0),
        ("::ffff:0:0", 0),
        ("::ffff:0:0:0", 0),
        ("64:ff9b::", 0),
        ("64:ff9b:1::", 0),
        ("2002::", 80),
        ("2001::", 0),
        ("2001::", 64),
        ("2606:4700::5efe:0:0", 0),
    ):
        assert not public_only(IPv6Address(int(IPv6Address(prefix)) | number << shift)), prefix


@given(
    st.ip_addresses(network="127.0.0.0/8")
    | st.ip_addresses(network="10.0.0.0/8")
    | st.ip_addresses(network="169.254.0.0/16")
)
def test_spellings_of_an_address_come_to_the_same(address: IPv4Address) -> None:
    number, parts = int(address), address.packed
    spellings = [
        str(number),
        hex(number),
        f"0{number:o}",
        f"{parts[0]}.{number & 0xFFFFFF}",
        ".".join(f"0{part:o}" for part in parts),
        ".".join(hex(part) for part in parts),
    ]
    for spelling in spellings:
        found = {sockaddr[0] for *_, sockaddr in socket.getaddrinfo(spelling, 80, type=socket.SOCK_STREAM)}
        assert found == {str(address)} and not public_only(ip_address(found.pop()))


def test_an_operator_can_refuse_more() -> None:
    allows = outside((IPv4Network("93.184.216.0/24"), IPv6Network("2606:4700::/32")), public_only)
    assert [allows(ip_address(one)) for one in ("93.184.216.34", "2606:4700::1", "8.8.8.8", "10.0.0.1")] == [
        *(False, False, True, False)
    ]


RULES = OutboundConfig(enabled=True, hosts=("media.test", "*.cdn.test"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://media.test/a", "'ftp' is no scheme .*: https and http only"),
        ("file:///etc/passwd", "not a URL that can be called"),
        ("gopher://media.test/_x", "'gopher' is no scheme"),
        ("http://", "not a URL"),
        ("http://media.test:22/a", "has port 22; this server calls 443, 80 only"),
        ("https://media.test:80443/a", "has port 80443"),
        ("http://me:secret@media.test/a", "has a name or password"),
        ("http://127.0.0.1/a", "not one of the hosts"),
        ("http://media.test.evil.test/a", "not one of the hosts"),
        ("http://cdn.test/a", "not one of the hosts"),
        ("http://evilcdn.test/a", "not one of the hosts"),
        ("http://media.test/a\r\nhost: x", "not a URL"),
        ("http://media.test/" + "a" * 5000, "not a URL"),
        ("//media.test/a", "no scheme"),
        ("", "not a URL"),
    ],
)
def test_urls_of_other_kinds_are_refused(url: str, why: str) -> None:
    with pytest.raises(UrlRefused, match=why) as caught:
        check_url(url, RULES, "image_url")
    assert caught.value.param == "image_url" and "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["http://media.test/a", "https://MEDIA.test:443/a?b#c", "https://a.b.cdn.test", "http://media.test./"]
)
def test_urls_of_listed_hosts_are_called(url: str) -> None:
    assert check_url(url, RULES).host.rstrip(".").endswith(".test")


@given(st.text(max_size=60) | st.from_regex(r"https?://[\x00-\x7f]{0,30}", fullmatch=True))
def test_whatever_comes_is_a_url_or_refused(text: str) -> None:
    try:
        url = check_url(text, OutboundConfig(enabled=True))
    except VogueError as error:
        assert isinstance(error, UrlRefused)
        return
    assert url.scheme in ("http", "https") and url.host and not url.userinfo and (url.port or 80) in (80, 443)
