"""Which addresses a server may call on behalf of a stranger: those of the public internet, and no others.

Pure functions over `ipaddress` values. Networks are listed here rather than taken from `ipaddress`, whose idea of what is private
differs between versions of Python. Source: IANA's registries of special-purpose addresses for IPv4 and IPv6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

__all__ = ["AddressPolicy", "IPAddress", "IPNetwork", "outside", "public_only"]

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
AddressPolicy = Callable[[IPAddress], bool]
"""Whether an address may be connected to."""

_REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, and this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a carrier's NAT; metadata of some clouds
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # metadata of a cloud, though its address looks public
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; metadata of a cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays from 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All unicast addresses in use lie here. Outside are loopback, mapped and compatible IPv4, NAT64, local and multicast ones."""
_REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo tunnels, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which leads to the IPv4 address inside
        "3fff::/20",  # documentation
    )
)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""Upper half of an interface identifier that leads to the IPv4 address in its lower half."""


def public_only(address: IPAddress) -> bool:
    """Whether an address is one of the public internet's own.

    Refused are private, loopback, link-local, metadata, carrier-NAT, multicast and reserved addresses, and IPv6 addresses that
    carry an IPv4 address in them (mapped, compatible, 6to4, Teredo, NAT64, ISATAP), whichever it is.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None or address not in _GLOBAL_V6 or any(address in network for network in _REFUSED_V6):
        return False
    return (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP


def outside(networks: Iterable[IPNetwork], policy: AddressPolicy) -> AddressPolicy:
    """What a policy allows, without some networks, such as an operator's own."""
    refused = tuple(networks)

    def allows(address: IPAddress) -> bool:
        return policy(address) and not any(address in network for network in refused)

    return allows
