//! Manifests, from files and from the wire: what is taken is canonical and passes its own check;
//! no template, path, request or answer makes anything panic, or escapes its place.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Decode as _, Encode as _, Text};
use session_executor::{call, transform};
use session_protocol::workload::manifest::{Manifest, Workload};
use session_protocol::workload::oracle::{Parameter, RawAnswer, RequestKind};
use session_protocol::workload::template::{Escape, RENDERED_BYTES_MAX, render};
use session_protocol::workload::{Observation, check, file};

const FILE: &str = r#"
    name = "fuzz"
    [[egress]]
    host = "e.org"
    [[source]]
    name = "read"
    kind = "http"
    url = "https://e.org/{a}"
    paths = ["$.a", "$..b[?@.c > 1]"]
    keep_status = true
    [[source]]
    name = "write"
    kind = "object-put"
    store = "s"
    key = "{a}/{b}"
"#;

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| file::parse(FILE).expect("it is good"));

fn text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(manifest) = file::parse(text) {
        let bytes = manifest.to_bytes();
        assert_eq!(Manifest::decode_exact(&bytes).as_ref(), Ok(&manifest));
        assert_eq!(check::check_manifest(&manifest), Ok(()));
    }
}

fn wire(bytes: &[u8]) {
    if let Ok(workload) = Workload::decode_exact(bytes) {
        assert_eq!(workload.to_bytes(), bytes, "accepted, but not what encoding produces");
        let _ = check::check(&workload);
        let _ = transform::check(&workload.manifest);
    }
}

fn template(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (template, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let (Ok(template), Ok(value)) = (core::str::from_utf8(template), core::str::from_utf8(value))
    else {
        return;
    };
    let Ok(value) = Text::new(value) else { return };
    let name = Text::new("a").expect("short");
    let parameter = Parameter { name, value };
    if let Ok(rendered) = render("https://h/{a}?q=1", &[parameter.clone()], Escape::Url) {
        let value = &rendered["https://h/".len()..rendered.len() - "?q=1".len()];
        assert!(!value.contains(['/', '?', '#', '@', ':', '\\', '&', ' ']), "{rendered}");
    }
    for escape in [Escape::None, Escape::Url] {
        if let Ok(rendered) = render(template, &[parameter.clone()], escape) {
            assert!(rendered.len() <= RENDERED_BYTES_MAX);
        }
    }
}

fn request(bytes: &[u8]) {
    for kind in [RequestKind::Read, RequestKind::Write] {
        match call::parse(&MANIFEST, kind, bytes) {
            Ok(call) => {
                let source = &MANIFEST.sources[usize::from(call.source)];
                assert_eq!(source.connector.writes(), kind == RequestKind::Write);
            }
            Err(bad) => assert!(!bad.to_string().is_empty()),
        }
    }
}

fn answer(bytes: &[u8]) {
    let source = &MANIFEST.sources[0];
    let raw = RawAnswer { status: 200, headers: Vec::new(), body: bytes.to_vec(), received: 0 };
    let mut guest = |_: &str, _: &[u8]| Err(String::new());
    let observed = transform::observe(&MANIFEST, source, Ok(raw), &mut guest);
    if let Observation::Value { bytes } = observed {
        assert!(core::str::from_utf8(&bytes).is_ok_and(|text| text.starts_with("{\"body\":[")));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => text(bytes),
        1 => wire(bytes),
        2 => template(bytes),
        3 => request(bytes),
        _ => answer(bytes),
    }
});
