//! Asks for memory before it is needed.

/// Begins to load the cache line of an address, and waits for nothing.
#[inline]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "no safe function does this")]
    // SAFETY: a prefetch is a hint. It changes nothing that a program can see, and is ignored for an address that cannot be read.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    // Elsewhere the look-up itself loads it.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
