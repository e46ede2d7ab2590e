//! The `meantime` program.

fn main() {}
