//! `sessionvm`: the coordination chain.

fn main() -> std::process::ExitCode {
    sessionvm::main(std::env::args_os())
}
