use std::net::IpAddr;

use super::Slots;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn places_are_bounded_in_all_and_per_address_and_come_back() {
    let slots = Slots::new(3, 2);
    let first = slots.take(ip("192.0.2.1")).unwrap();
    let _second = slots.take(ip("192.0.2.1")).unwrap();
    assert!(slots.take(ip("192.0.2.1")).is_none(), "two per address");
    let _third = slots.take(ip("192.0.2.2")).unwrap();
    assert!(slots.take(ip("192.0.2.3")).is_none(), "three in all");
    drop(first);
    assert_eq!(slots.total(), 2);
    assert!(slots.take(ip("192.0.2.1")).is_some());
}

#[test]
fn an_address_is_an_ipv6_network_or_the_ipv4_address_inside_one() {
    let slots = Slots::new(10, 1);
    let _one = slots.take(ip("2001:db8:0:1::1")).unwrap();
    assert!(slots.take(ip("2001:db8:0:1:ffff::2")).is_none());
    assert!(slots.take(ip("2001:db8:0:2::1")).is_some());
    let _mapped = slots.take(ip("::ffff:192.0.2.1")).unwrap();
    assert!(slots.take(ip("192.0.2.1")).is_none());
    assert!(slots.take(ip("::ffff:192.0.2.2")).is_some());
}
