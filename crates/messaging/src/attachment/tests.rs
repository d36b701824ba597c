use session_core::testing::{check_codec, check_round_trip};
use session_core::{InboxAddress, SeededEntropy};

use super::piece::{self, Kind, Place};
use super::*;

const KEY: [u8; 32] = [7; 32];

fn address() -> InboxAddress {
    [9; 32].into()
}

fn file(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes
}

fn seal(bytes: &[u8]) -> (Manifest, Vec<SealedPiece>, Vec<SealedPiece>) {
    let mut sealer = Sealer::new(FileKey::from(KEY), bytes.len() as u64, address()).unwrap();
    let chunks = bytes.chunks(CHUNK_BYTES).map(|c| sealer.seal_next(c).unwrap()).collect();
    let (manifest, indexes) = sealer.finish(FileName::sanitise("file.bin")).unwrap();
    (manifest, chunks, indexes)
}

fn fields(manifest: &Manifest) -> Fields {
    manifest.0.clone()
}

#[test]
fn golden_bytes_of_a_manifest_with_indexes() {
    let ids = List::new(vec![MessageId::from([0xaa; 32])]).unwrap();
    let manifest = Manifest(Fields {
        name: FileName::sanitise("a"),
        size: (DIRECT_IDS_MAX as u64 + 1) * CHUNK_BYTES as u64,
        key: FileKey::from(KEY),
        hash: [0xbb; 32].into(),
        pieces: Pieces::Indexes { ids },
    });
    check_codec(
        &manifest,
        "00000001 61          # name
         0000000004010000     # size
         0707070707070707070707070707070707070707070707070707070707070707 # key
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb # hash
         02                   # ids of index items
         00000001             # one
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    );
}

#[test]
fn manifests_that_do_not_add_up_are_refused() {
    let (manifest, ..) = seal(&file(3 * CHUNK_BYTES, 1));
    check_round_trip(&manifest);
    let refuse = |fields: Fields, what| {
        let error = Manifest::decode_exact(&fields.to_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Invalid { field, .. } if field == what), "{error}");
    };
    refuse(Fields { size: FILE_BYTES_MAX + 1, ..fields(&manifest) }, "file size");
    refuse(Fields { size: u64::MAX, ..fields(&manifest) }, "file size");
    refuse(Fields { size: 3 * CHUNK_BYTES as u64 + 1, ..fields(&manifest) }, "file pieces");
    refuse(Fields { size: 2 * CHUNK_BYTES as u64, ..fields(&manifest) }, "file pieces");
    // Index items where the chunks would have fitted.
    let ids = List::new(vec![MessageId::from([1; 32])]).unwrap();
    let pieces = Pieces::Indexes { ids };
    refuse(Fields { pieces, ..fields(&manifest) }, "file pieces");
}

#[test]
fn every_kind_of_length_survives() {
    for length in [0, 1, 1023, 1024, 1025, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 200_000] {
        let bytes = file(length, 2);
        let (manifest, chunks, indexes) = seal(&bytes);
        assert!(indexes.is_empty());
        let opener = Opener::new(manifest.clone());
        let mut opened = Vec::new();
        for (number, chunk) in (0..).zip(&chunks) {
            assert_eq!(opener.chunk_id(number), Some(chunk.id));
            opened.extend(opener.open_chunk(number, &chunk.item).unwrap());
        }
        assert_eq!(opened, bytes);
        let mut hash = FileHash::new();
        hash.update(&opened);
        assert_eq!(manifest.check_hash(&hash), Ok(()));
    }
}

#[test]
fn sizes_are_padded() {
    let sizes = |length| -> Vec<usize> {
        seal(&file(length, 3)).1.iter().map(|chunk| chunk.item.len() - 41).collect()
    };
    assert_eq!(sizes(1), [1024]);
    assert_eq!(sizes(1025), [2048]);
    assert_eq!(sizes(40_000), [65_536]);
    assert_eq!(sizes(CHUNK_BYTES + 1), [65_536, 65_536]);
}

// A transfer that is resumed stores nothing twice, because ids repeat.
#[test]
fn sealing_again_gives_the_same_items() {
    let bytes = file(150_000, 4);
    assert_eq!(seal(&bytes), seal(&bytes));
}

// The file changed between two attempts: no nonce is used for two plaintexts.
#[test]
fn another_content_has_another_nonce() {
    let (mut bytes, nonce) = (file(70_000, 5), |piece: &SealedPiece| piece.item[1..25].to_vec());
    let before = seal(&bytes).1;
    bytes[0] ^= 1;
    let after = seal(&bytes).1;
    assert_ne!(nonce(&before[0]), nonce(&after[0]));
    assert_eq!(before[1], after[1]);
    // Equal chunks at different places do not look equal.
    let zeros = seal(&vec![0; 2 * CHUNK_BYTES]).1;
    assert_ne!(nonce(&zeros[0]), nonce(&zeros[1]));
    assert_ne!(zeros[0].item[25..], zeros[1].item[25..]);
}

#[test]
fn a_large_file_goes_through_index_items() {
    let bytes = file((INDEX_IDS + 1) * CHUNK_BYTES + 5, 6);
    let (manifest, chunks, indexes) = seal(&bytes);
    assert_eq!((chunks.len(), indexes.len()), (INDEX_IDS + 2, 2));
    assert_eq!(indexes[0].item.len(), chunks[0].item.len(), "index items look like chunks");
    check_round_trip(&fields(&manifest).pieces);

    let mut opener = Opener::new(manifest);
    assert_eq!(opener.missing_indexes(), [(0, indexes[0].id), (1, indexes[1].id)]);
    assert_eq!(opener.chunk_id(0), None);
    opener.open_index(1, &indexes[1].item).unwrap();
    let last = u32::try_from(INDEX_IDS + 1).unwrap();
    assert_eq!(opener.chunk_id(last), Some(chunks[INDEX_IDS + 1].id));
    assert_eq!(opener.chunk_id(last + 1), None);
    assert_eq!(
        opener.open_chunk(last, &chunks[INDEX_IDS + 1].item).unwrap(),
        &bytes[bytes.len() - 5..]
    );
    let swapped = opener.open_index(0, &indexes[1].item);
    assert_eq!(swapped, Err(AttachmentError::NotOpened { kind: "index", index: 0 }));
    opener.open_index(0, &indexes[0].item).unwrap();
    assert!(opener.missing_indexes().is_empty());
    assert!((0..).zip(&chunks).all(|(number, chunk)| opener.chunk_id(number) == Some(chunk.id)));
    let beyond = opener.open_index(2, &indexes[0].item);
    assert_eq!(beyond, Err(AttachmentError::NoSuchPiece { kind: "index", index: 2, count: 2 }));
    // A chunk is not an index item, though it looks like one.
    assert!(opener.open_index(0, &chunks[0].item).is_err());
}

#[test]
fn altered_cut_and_swapped_chunks_do_not_open() {
    let (manifest, chunks, _) = seal(&file(150_000, 7));
    let opener = Opener::new(manifest);
    let not_opened = |index| Err(AttachmentError::NotOpened { kind: "chunk", index });
    let item = chunks[0].item.to_vec();
    for place in [1, 24, 25, 1000, item.len() - 1] {
        let mut altered = item.clone();
        altered[place] ^= 1;
        assert_eq!(opener.open_chunk(0, &altered), not_opened(0), "byte {place}");
    }
    for length in [0, 1, 24, 25, 40, 41, item.len() - 1] {
        assert_eq!(opener.open_chunk(0, &item[..length]), not_opened(0), "{length} bytes");
    }
    assert_eq!(opener.open_chunk(1, &item), not_opened(1));
    let mut newer = item.clone();
    newer[0] = 2;
    assert_eq!(opener.open_chunk(0, &newer), Err(AttachmentError::Version { got: 2 }));
    let beyond = AttachmentError::NoSuchPiece { kind: "chunk", index: 3, count: 3 };
    assert_eq!(opener.open_chunk(3, &item), Err(beyond));
    // Of another file.
    let mut sealer = Sealer::new(FileKey::from([8; 32]), 150_000, address()).unwrap();
    let foreign = sealer.seal_next(&file(CHUNK_BYTES, 7)).unwrap();
    assert_eq!(opener.open_chunk(0, &foreign.item), not_opened(0));
}

// Only the sender can seal a chunk whose padding is not zero or not as long as it should be.
#[test]
fn padding_is_checked() {
    let (manifest, ..) = seal(&file(CHUNK_BYTES + 10, 8));
    let opener = Opener::new(manifest);
    let place = Place { kind: Kind::Chunk, index: 1, count: 2 };
    let mut plain = vec![0; 11];
    plain[10] = 1;
    let item = piece::seal(&FileKey::from(KEY), place, &plain);
    let padding = AttachmentError::Padding { kind: "chunk", index: 1 };
    assert_eq!(opener.open_chunk(1, &item), Err(padding));

    let (manifest, ..) = seal(&file(10, 8));
    let place = Place { kind: Kind::Chunk, index: 0, count: 1 };
    let longer = piece::seal(&FileKey::from(KEY), place, &[0; 2000]);
    let padding = AttachmentError::Padding { kind: "chunk", index: 0 };
    assert_eq!(Opener::new(manifest).open_chunk(0, &longer), Err(padding));
}

#[test]
fn a_chunk_does_not_pass_for_an_index_item_at_the_same_place() {
    let place = |kind| Place { kind, index: 1, count: 3 };
    let key = FileKey::from(KEY);
    let plain = vec![5; CHUNK_BYTES];
    let item = piece::seal(&key, place(Kind::Chunk), &plain);
    assert_eq!(piece::open(&key, place(Kind::Chunk), CHUNK_BYTES, &item), Ok(plain));
    let not_opened = AttachmentError::NotOpened { kind: "index", index: 1 };
    let opened = piece::open(&key, place(Kind::Index), CHUNK_BYTES, &item);
    assert_eq!(opened, Err(not_opened));
}

#[test]
fn the_hash_of_the_whole_is_checked() {
    let (manifest, ..) = seal(b"what was sent");
    let mut hash = FileHash::new();
    hash.update(b"what was ");
    assert!(matches!(manifest.check_hash(&hash), Err(AttachmentError::WrongHash { .. })));
    hash.update(b"sent");
    assert_eq!(manifest.check_hash(&hash), Ok(()));
}

#[test]
fn a_caller_who_cuts_wrongly_is_told() {
    let too_large = Sealer::new(FileKey::from(KEY), FILE_BYTES_MAX + 1, address()).err();
    assert_eq!(too_large, Some(AttachmentError::FileTooLarge { got: FILE_BYTES_MAX + 1 }));
    let mut sealer = Sealer::new(FileKey::from(KEY), 70_000, address()).unwrap();
    let wrong = AttachmentError::ChunkLength { chunk: 0, got: 5, expected: 65_536 };
    assert_eq!(sealer.seal_next(&[0; 5]), Err(wrong));
    sealer.seal_next(&[0; CHUNK_BYTES]).unwrap();
    assert_eq!((sealer.next_chunk(), sealer.next_length()), (1, 4_464));
    let mut done = Sealer::new(FileKey::from(KEY), 1, address()).unwrap();
    done.seal_next(&[0]).unwrap();
    let beyond = AttachmentError::NoSuchPiece { kind: "chunk", index: 1, count: 1 };
    assert_eq!(done.seal_next(&[]), Err(beyond));
    let early = sealer.finish(FileName::sanitise("x")).err();
    assert_eq!(early, Some(AttachmentError::Unfinished { sealed: 1, chunks: 2 }));
}

#[test]
fn the_key_is_not_printed() {
    assert_eq!(format!("{:?}", FileKey::from(KEY)), "FileKey");
    let manifest = format!("{:?}", seal(b"x").0);
    assert!(!manifest.contains("0707"), "{manifest}");
}

#[test]
fn the_largest_file_fits_its_manifest() {
    let chunks = chunk_count(FILE_BYTES_MAX) as usize;
    assert!(chunks.div_ceil(INDEX_IDS) <= INDEXES_MAX);
    assert_eq!(chunks.div_ceil(INDEX_IDS), 8);
}
