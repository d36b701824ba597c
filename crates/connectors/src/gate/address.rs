//! Which addresses are of the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not of the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Special {
    /// 0.0.0.0/8, `::`.
    Unspecified,
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// RFC 1918; `fc00::/7`.
    Private,
    /// 100.64.0.0/10.
    Shared,
    /// 169.254.0.0/16, `fe80::/10`: where clouds keep their metadata.
    LinkLocal,
    /// Metadata of a cloud at an address that looks public.
    Metadata,
    /// Groups of receivers.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// For books.
    Documentation,
    /// For measurements.
    Benchmark,
    /// IPv6 addresses with an IPv4 address in them: mapped, compatible, NAT64, 6to4, Teredo.
    Embedded,
    /// Everything else that IANA keeps for protocols or for later.
    Reserved,
}

impl Special {
    /// Returns whether an operator may open it for a host: it is where own servers are.
    pub(crate) const fn may_be_opened(self) -> bool {
        matches!(self, Self::Loopback | Self::Private | Self::Shared)
    }
}

/// Returns why an address may not be reached; `None` if it is public.
pub(crate) fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

/// An IPv4 range: its first address, its prefix.
const fn v4(a: u8, b: u8, c: u8, prefix: u32) -> (u32, u32) {
    (Ipv4Addr::new(a, b, c, 0).to_bits(), prefix)
}

// RFC 6890 as IANA's registry has it today. The first match counts.
const V4: &[((u32, u32), Special)] = &[
    (v4(0, 0, 0, 8), Special::Unspecified),
    (v4(10, 0, 0, 8), Special::Private),
    (v4(100, 64, 0, 10), Special::Shared),
    (v4(127, 0, 0, 8), Special::Loopback),
    (v4(169, 254, 0, 16), Special::LinkLocal),
    (v4(172, 16, 0, 12), Special::Private),
    (v4(192, 0, 0, 24), Special::Reserved),
    (v4(192, 0, 2, 24), Special::Documentation),
    (v4(192, 31, 196, 24), Special::Reserved),
    (v4(192, 52, 193, 24), Special::Reserved),
    (v4(192, 88, 99, 24), Special::Embedded),
    (v4(192, 168, 0, 16), Special::Private),
    (v4(192, 175, 48, 24), Special::Reserved),
    (v4(198, 18, 0, 15), Special::Benchmark),
    (v4(198, 51, 100, 24), Special::Documentation),
    (v4(203, 0, 113, 24), Special::Documentation),
    (v4(224, 0, 0, 4), Special::Multicast),
    ((u32::MAX, 32), Special::Broadcast),
    (v4(240, 0, 0, 4), Special::Reserved),
    // Azure's metadata and name server: routed to the host from every virtual machine.
    ((Ipv4Addr::new(168, 63, 129, 16).to_bits(), 32), Special::Metadata),
];

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    let bits = address.to_bits();
    let within =
        |&((first, prefix), _): &&((u32, u32), Special)| (bits ^ first) >> (32 - prefix) == 0;
    V4.iter().find(within).map(|&(_, why)| why)
}

/// An IPv6 range: its first address, its prefix.
const fn v6(a: u16, b: u16, c: u16, prefix: u32) -> (u128, u32) {
    (Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits(), prefix)
}

const V6: &[((u128, u32), Special)] = &[
    ((0, 128), Special::Unspecified),
    ((1, 128), Special::Loopback),
    // Compatible and mapped addresses, and the translated ones of SIIT (`::ffff:0:0:0/96`).
    (v6(0, 0, 0, 64), Special::Embedded),
    (v6(0x64, 0xff9b, 0, 96), Special::Embedded),
    (v6(0x64, 0xff9b, 1, 48), Special::Embedded),
    (v6(0x2001, 0, 0, 32), Special::Embedded),
    (v6(0x2002, 0, 0, 16), Special::Embedded),
    (v6(0x2001, 0xdb8, 0, 32), Special::Documentation),
    (v6(0x3fff, 0, 0, 20), Special::Documentation),
    (v6(0x2001, 2, 0, 48), Special::Benchmark),
    // IETF's protocol assignments, ORCHID among them.
    (v6(0x2001, 0, 0, 23), Special::Reserved),
    (v6(0x2620, 0x4f, 0x8000, 48), Special::Reserved),
    (v6(0xfc00, 0, 0, 7), Special::Private),
    (v6(0xfe80, 0, 0, 10), Special::LinkLocal),
    (v6(0xff00, 0, 0, 8), Special::Multicast),
];

fn special_v6(address: Ipv6Addr) -> Option<Special> {
    let bits = address.to_bits();
    let within =
        |&((first, prefix), _): &&((u128, u32), Special)| (bits ^ first) >> (128 - prefix) == 0;
    let named = V6.iter().find(within).map(|&(_, why)| why);
    // Only 2000::/3 is given out for the internet.
    named.or((address.segments()[0] >> 13 != 1).then_some(Special::Reserved))
}

#[cfg(test)]
mod tests;
