use super::*;

fn program(dir: &Path) -> PathBuf {
    let path = dir.join("program");
    fs::write(&path, b"#!/bin/sh\n").unwrap();
    path
}

#[test]
fn the_copy_has_the_vm_id_as_its_name_and_nothing_is_left_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for _ in 0..2 {
        let (at, warnings) = install(&program(dir.path()), &plugins).unwrap();
        assert_eq!(at, plugins.join("speKUgLBX6WRD5cfGeEfLa43LxTXUBckvtv4td6F3eTXvRP48"));
        assert_eq!(warnings, Vec::<String>::new());
    }
    let names: Vec<_> = fs::read_dir(&plugins).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [VMID]);
    let mode = fs::metadata(plugins.join(VMID)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn files_that_would_break_the_hosts_scan_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let sidecar = format!("{VMID}.json");
    let old = "2ZbQaVuXHtT7vfJt8FmWEQKAT4NgtPqWEZHg5m3tUvEiSMnQNt";
    let other = "mgj786NP7uDwBCcq6YwThhaN8FLyybkCa4zBWTQbNgmK6k9A6";
    for name in [sidecar.as_str(), old, other, "README.md"] {
        fs::write(plugins.join(name), b"").unwrap();
    }
    let (_, warnings) = install(&program(dir.path()), &plugins).unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings.iter().any(|w| w.starts_with(&sidecar) && w.contains("second plugin")));
    assert!(warnings.iter().any(|w| w.starts_with(old) && w.contains(VMID)));
    assert!(warnings.iter().any(|w| w.starts_with("README.md")));
}

#[test]
fn a_directory_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = install(&program(dir.path()), &dir.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("is not a directory"), "{error}");
}
