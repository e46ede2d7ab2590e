//! The `meantime` program.

fn main() -> std::process::ExitCode {
    meantime::cli::main()
}
