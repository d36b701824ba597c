use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::{
    Existing, FileError, Loose, SECRET_MODE, create_private_directory, read, read_secret,
    write_atomic,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_secret_is_written_private_and_read_back() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("key");
    write_atomic(&path, b"secret", SECRET_MODE, Existing::Keep).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(&**read_secret(&path, 100, Loose::Refuse).unwrap(), b"secret");
    assert_eq!(names(directory.path()), ["key"], "no temporary file stays");
}

#[test]
fn an_existing_file_is_kept_or_replaced_as_asked() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, b"old").unwrap();
    let kept = write_atomic(&path, b"new", SECRET_MODE, Existing::Keep);
    assert!(matches!(kept, Err(FileError::Exists(_))));
    assert_eq!(read(&path, 100).unwrap(), b"old");
    write_atomic(&path, b"new", SECRET_MODE, Existing::Replace).unwrap();
    assert_eq!(read(&path, 100).unwrap(), b"new");
    assert_eq!(mode(&path), 0o600, "the loose mode of the old file is gone");
    assert_eq!(names(directory.path()), ["key"]);
}

#[test]
fn secrets_that_others_may_read_are_refused_or_warned_about() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, b"secret").unwrap();
    for loose in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(loose)).unwrap();
        let error = read_secret(&path, 100, Loose::Refuse).unwrap_err();
        assert!(matches!(error, FileError::Loose { mode, .. } if mode == loose));
        let advice = format!("chmod 600 {}", path.display());
        assert!(error.to_string().contains(&advice), "{error}");
        assert!(read_secret(&path, 100, Loose::Warn).is_ok());
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(read_secret(&path, 100, Loose::Refuse).is_ok());
}

#[test]
fn sizes_and_kinds_are_checked() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, [0; 11]).unwrap();
    assert!(matches!(read(&path, 10), Err(FileError::TooLarge { limit: 10, .. })));
    assert_eq!(read(&path, 11).unwrap().len(), 11);
    let kind = read_secret(directory.path(), 10, Loose::Warn);
    assert!(matches!(kind, Err(FileError::NotAFile(_))));
    // A device has no size and no end.
    let endless = read(Path::new("/dev/zero"), 10);
    assert!(matches!(endless, Err(FileError::TooLarge { .. })));
}

#[test]
fn errors_name_the_file_and_what_was_tried() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("none").join("key");
    let error = read_secret(&missing, 10, Loose::Refuse).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}", missing.display())), "{error}");
    let error = write_atomic(&missing, b"x", SECRET_MODE, Existing::Replace).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot write {}", missing.display())));
}

#[test]
fn private_directories_are_private() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a/b");
    create_private_directory(&path).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
    create_private_directory(&path).unwrap();
}
