//! `fleet`: run, watch and end many coding agents at once.

fn main() -> std::process::ExitCode {
    fleet::main()
}
