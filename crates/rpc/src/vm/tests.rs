use session_core::id::to_cb58;

use super::{BadVmId, VMID, WRONG_VMID, check_vmid};

#[test]
fn the_vmid_is_the_name_padded_with_zeros() {
    let mut bytes = [0; 32];
    bytes[..9].copy_from_slice(b"sessionvm");
    assert_eq!(to_cb58(&bytes), VMID);
    assert_eq!(check_vmid(VMID), Ok(()));
}

#[test]
fn every_other_id_is_refused_with_the_right_one() {
    // The control vector of the reference for another machine.
    let evm = "mgj786NP7uDwBCcq6YwThhaN8FLyybkCa4zBWTQbNgmK6k9A6";
    assert_eq!(check_vmid(WRONG_VMID), Err(BadVmId::Misprint));
    assert_eq!(check_vmid(evm), Err(BadVmId::Other));
    assert!(matches!(check_vmid("sessionvm"), Err(BadVmId::NoId(_))));
    for text in [WRONG_VMID, evm, "sessionvm", ""] {
        assert!(check_vmid(text).unwrap_err().to_string().contains(VMID));
    }
}
