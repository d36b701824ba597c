//! Compiles the messages and services of avalanchego, without any tool outside cargo.

/// The files under `proto/`.
#[cfg(feature = "avalanche")]
const FILES: &[&str] = &[
    "appsender.proto",
    "health.proto",
    "http.proto",
    "responsewriter.proto",
    "rpcdb.proto",
    "runtime.proto",
    "status.proto",
    "vm.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "avalanche")]
    {
        println!("cargo::rerun-if-changed=proto");
        let files = protox::compile(FILES, ["proto"])?;
        tonic_prost_build::configure().compile_fds(files)?;
    }
    Ok(())
}
