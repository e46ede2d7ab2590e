//! Random bytes from the operating system.

use rand::TryRng;
use rand::rngs::SysRng;

use super::Failure;

/// 32 unpredictable bytes: a key, or the seed of a node.
///
/// # Errors
/// When the system has none.
pub(super) fn random_bytes() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    match SysRng.try_fill_bytes(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Failure::Runtime(format!("the system gives no random numbers: {error}"))),
    }
}
