//! Names of threads, as `ps -T`, `top -H` and profilers show them.

use std::ffi::CString;

/// The kernel keeps so many bytes of a name.
const NAME_BYTES_MAX: usize = 15;

/// Names the current thread. actix gives all its threads the same name, so each is named from inside when its work begins.
pub(crate) fn name_current(name: &str) {
    debug_assert!(name.len() <= NAME_BYTES_MAX, "the kernel cuts off \"{name}\"");
    let named = CString::new(name).map_err(std::io::Error::from).and_then(|name| Ok(nix::sys::prctl::set_name(&name)?));
    if let Err(error) = named {
        tracing::debug!(name, %error, "a thread was not named");
    }
}
