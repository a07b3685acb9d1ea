//! `flt`: the short name of `fleet`.

fn main() -> std::process::ExitCode {
    fleet::main()
}
