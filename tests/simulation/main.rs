//! The real server and the real clients in simulated worlds.
//!
//! Every test prints the seed that it fails with. `MEANTIME_SEED=17 scripts/test.sh --all --test simulation`
//! runs each of them with that seed alone; random faults can also be replayed and watched with
//! `meantime simulate --faults-seed 17 --events`.
//!
//! A long test that takes minutes for all its worlds runs a sample of them, `sampled_seeds`, and all of them
//! with `MEANTIME_WORLDS=all`, which `scripts/long.sh` sets.

mod attackers;
mod battery;
mod bounds;
mod changes;
mod convergence;
mod coverage;
mod determinism;
mod installation;
mod joining;
mod liars;
mod manual_adjustment;
mod memory;
mod random_faults;
mod rate;
mod references;
mod restart;
mod several_servers;
mod support;
mod table;
mod tree;
mod wake_up;
mod worlds;
