//! The process's allocator: mimalloc. Most of what a node allocates is freed by another thread, or in another
//! order, than it came in; glibc's arenas take a fifth more of a command's time for that, and more memory.
//! Huge pages are off (`no_thp`): they make a node at rest three times as large.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Gives memory back to the system as soon as it is free, not a second later. To be called first.
#[allow(unsafe_code)]
pub fn give_back_early() {
    // SAFETY: sets a number; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: reads a number. mimalloc 3 waits a second, and no other option's default is 1000.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, 1000);
    }
}
