//! What search finds.

use super::*;

fn found(device: &Device, query: &str) -> Vec<u8> {
    search(&device.vault, query, 100)
        .into_iter()
        .map(|hit| {
            let shown = message(&device.vault, hit.thread, hit.place).expect("it is there");
            shown.id.0[0]
        })
        .collect()
}

#[test]
fn words_are_found_without_case_and_accents() {
    let mut device = Device::with_alice();
    for (number, body) in [
        (1, "Where is the Café?"),
        (2, "the cafeteria, near the Straße"),
        (3, "STRASSENBAHN nach Łódź"),
        (4, "Ærøskøbing, \u{FB01}ne \u{FF26}ull width"),
        (5, "我喜歡咖啡"),
        (6, "e\u{301}te\u{301} \u{3a3}\u{3bf}\u{3c6}\u{3cc}\u{3c2}"),
        (7, "İstanbul'da ışık"),
    ] {
        device.hear(alice(), &said(number, 10, text(body)));
    }
    for (query, expected) in [
        ("cafe", &[2, 1][..]),
        ("CAFÉ ", &[1]),
        ("the caf", &[2, 1]),
        ("caf the", &[]),
        ("strasse", &[3, 2]),
        ("straße ", &[2]),
        ("lodz", &[3]),
        ("aeroskobing", &[4]),
        ("fine full", &[4]),
        ("咖啡", &[5]),
        ("咖茶", &[]),
        ("été", &[6]),
        ("σοφοσ", &[6]),
        ("istanbul isik", &[7]),
        ("near where", &[]),
        ("", &[]),
        ("?!", &[]),
        ("\u{301}", &[]),
    ] {
        assert_eq!(found(&device, query), expected, "{query:?}");
    }
}

#[test]
fn the_newest_of_all_threads_come_first() {
    let mut vault = MemoryVault::new();
    let pair =
        [alice(), bob()].map(|account| open_thread(&mut vault, &Peer::Account { account }, at(0)));
    for number in 0..100 {
        let thread = pair[usize::from(number % 2)];
        let said = said(number + 1, 10, text(&format!("number {number}")));
        apply(
            &mut vault,
            at(u64::from(number)),
            thread,
            alice(),
            DeviceId::default(),
            false,
            &said,
            &[],
        );
    }
    let hits = search(&vault, "number", 5);
    let shown: Vec<_> = hits.iter().map(|hit| hit.snippet.as_str()).collect();
    assert_eq!(shown, ["number 99", "number 98", "number 97", "number 96", "number 95"]);
    assert_eq!(search(&vault, "number", 1000).len(), 100);
    assert_eq!(search(&vault, "number", 0), []);
    assert_eq!(search(&vault, "number 7", 100).len(), 11);
    assert_eq!(search(&vault, "number 7 ", 100).len(), 1);
}

#[test]
fn what_is_gone_is_not_found() {
    let mut device = Device::with_alice();
    for number in 1..=4 {
        device.hear(alice(), &said(number, 10, text("secret")));
    }
    device.hear(alice(), &said(5, 11, Say::Unsend { of: id(1) }));
    device.hear(alice(), &said(6, 11, edit(2, "public")));
    forget(&mut device.vault, at(1001), device.thread, &[id(3)]);
    assert_eq!(found(&device, "secret"), [4]);
    assert_eq!(found(&device, "public"), [2]);
}

#[test]
fn a_snippet_shows_what_is_around() {
    let mut device = Device::with_alice();
    let body = format!("{} needle\nand {}", "ä ".repeat(200), "straw ".repeat(200));
    device.hear(alice(), &said(1, 10, text(&body)));
    let hits = search(&device.vault, "straw needle", 9);
    let snippet = &hits[0].snippet;
    assert!(snippet.starts_with("… ä ä") && snippet.ends_with('…'), "{snippet}");
    assert!(snippet.contains("needle and straw"), "{snippet}");
    assert_eq!(snippet.chars().count(), 102);
    assert_eq!((hits[0].author, hits[0].at), (alice(), at(1000)));
}
