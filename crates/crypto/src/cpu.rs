//! Whether this CPU can run a binary that was built for `x86-64-v3`.

/// Instructions the binary was built for and the CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this program was built for x86-64-v3 and the CPU lacks {}; build it with RUSTFLAGS=\"\"",
    .0.join(", ")
)]
pub struct Missing(pub Vec<&'static str>);

/// Checks the CPU against what the binary was compiled for; binaries call it first.
///
/// A generic build needs nothing, so it always succeeds.
///
/// # Errors
/// When instructions are missing.
pub fn cpu_supported() -> Result<(), Missing> {
    // `is_x86_feature_detected!` answers "yes" unseen for a feature that the build turned on, so
    // the CPU itself is asked.
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
    {
        use std::arch::x86_64::__cpuid_count;
        let highest = __cpuid_count(0, 0).eax;
        let basic = __cpuid_count(1, 0);
        let structured = if highest >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
        let extended = if __cpuid_count(0x8000_0000, 0).eax > 0x8000_0000 {
            __cpuid_count(0x8000_0001, 0).ecx
        } else {
            0
        };
        missing(basic.ecx, structured, extended)
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
    Ok(())
}

/// Reads the feature bits of leaf 1 (ecx), leaf 7 (ebx) and leaf 0x80000001 (ecx).
#[cfg(any(test, all(target_arch = "x86_64", target_feature = "avx2")))]
fn missing(basic: u32, structured: u32, extended: u32) -> Result<(), Missing> {
    let features = [
        ("sse3", basic, 0),
        ("ssse3", basic, 9),
        ("fma", basic, 12),
        ("cmpxchg16b", basic, 13),
        ("sse4.1", basic, 19),
        ("sse4.2", basic, 20),
        ("movbe", basic, 22),
        ("popcnt", basic, 23),
        ("osxsave", basic, 27),
        ("avx", basic, 28),
        ("f16c", basic, 29),
        ("bmi1", structured, 3),
        ("avx2", structured, 5),
        ("bmi2", structured, 8),
        ("lzcnt", extended, 5),
    ];
    let lacking: Vec<_> = features
        .into_iter()
        .filter(|(_, word, bit)| word >> bit & 1 == 0)
        .map(|(name, _, _)| name)
        .collect();
    if lacking.is_empty() { Ok(()) } else { Err(Missing(lacking)) }
}

#[cfg(test)]
mod tests {
    use super::{cpu_supported, missing};

    #[test]
    fn this_cpu_runs_its_own_tests() {
        assert_eq!(cpu_supported(), Ok(()));
    }

    #[test]
    fn names_what_is_missing() {
        let error = missing(!(1 << 12), !(1 << 5), u32::MAX).expect_err("two bits are off");
        assert_eq!(error.0, ["fma", "avx2"]);
        assert!(error.to_string().contains("fma, avx2"), "{error}");
        assert_eq!(missing(u32::MAX, u32::MAX, u32::MAX), Ok(()));
    }
}
