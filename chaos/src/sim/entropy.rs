//! What the process draws from the operating system, and the time it reads there, replaced at libc's symbols.
//!
//! Through `getrandom` come std's `RandomState` (and from it the seeds of tokio's scheduler and of `select!`) and all of the
//! `rand` crates; through `clock_gettime` std's `Instant` and `SystemTime`, which hyper puts into headers. Both are libc's own
//! until [`begin`] was called. rustix and C code that makes system calls by itself are not caught: clocks are asked of the
//! [`jam_world::World`].
//!
//! A simulation takes a fresh process: tokio and others keep counters in statics. It takes one thread: two would draw
//! in an order that depends on the machine.
//!
//! Works on Linux with a libc that is linked dynamically.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, Ordering::Relaxed};

use crate::seed;

static SEEDED: AtomicBool = AtomicBool::new(false);
static SEED: AtomicU64 = AtomicU64::new(0);
static NUMBERS: AtomicU64 = AtomicU64::new(0);
static EARLY_DRAWS: AtomicU64 = AtomicU64::new(0);
static DRAWS: AtomicU64 = AtomicU64::new(0);
static READINGS: AtomicU64 = AtomicU64::new(0);
static NOW_NS: AtomicI64 = AtomicI64::new(0);
static REAL_CLOCK: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    static IN_SIMULATION: Cell<bool> = const { Cell::new(false) };
}

/// 2030-01-01, when every simulation begins for those who ask std.
const EPOCH_NS: i64 = 1_893_456_000_000_000_000;
/// Instants may be moved back a little, also at the beginning.
const UP_NS: i64 = 1_000_000_000_000;

/// What was asked since [`begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Calls for randomness.
    pub draws: u64,
    /// Calls for the time.
    pub readings: u64,
}

/// Begins a simulation in this process, run by this thread: from now on randomness comes from the seed, and the time
/// is the simulation's. From then on a draw by any other thread ends the process. So does a draw that was made before:
/// the keys of a thread's hash maps are drawn once, and tokio's seeds come from them. So this comes first in a process,
/// before a log is set up, say.
pub fn begin(seed: u64) {
    if EARLY_DRAWS.load(Relaxed) > 0 {
        trip(b"jam-chaos: something drew randomness before the simulation began, which would not be repeatable. \
            entropy::begin must come first.\n");
    }
    IN_SIMULATION.set(true);
    SEED.store(seed, Relaxed);
    SEEDED.store(true, Relaxed);
}

/// Names the seed to a process that is to run a simulation.
pub const SEED_VARIABLE: &str = "JAM_SIM_SEED";

/// Begins a simulation if the environment names a seed. The first thing that `main` does: whatever is random once
/// in a process must be drawn afterwards.
pub fn begin_as_told() {
    if let Some(seed) = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()) {
        begin(seed);
    }
}

/// How much was asked.
pub fn asked() -> Asked {
    Asked { draws: DRAWS.load(Relaxed), readings: READINGS.load(Relaxed) }
}

/// Sets the time that std reads, in ns since the simulation began.
pub(super) fn set_now(now_ns: i64) {
    NOW_NS.store(now_ns, Relaxed);
}

/// CLOCK_MONOTONIC of this machine in ns, also in a simulation: to measure how fast it runs.
pub fn real_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to write.
    unsafe { real_clock(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// libc's `getrandom`, by the seed if there is one.
///
/// # Safety
/// As libc's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if !SEEDED.load(Relaxed) {
        EARLY_DRAWS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is the system call's. It sets errno as libc's does.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    if !in_simulation() {
        trip(b"jam-chaos: another thread drew randomness during a simulation, which would not be repeatable. \
            Whatever started a thread must ask the World for it.\n");
    }
    DRAWS.fetch_add(1, Relaxed);
    let mut written = 0;
    while written < length {
        let number = NUMBERS.fetch_add(1, Relaxed) + 1;
        let bytes = seed::nth(SEED.load(Relaxed), number).to_le_bytes();
        let count = bytes.len().min(length - written);
        // SAFETY: `written + count` is at most `length`, for which the caller has room.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast::<u8>().add(written), count);
        }
        written += count;
    }
    length as isize
}

/// libc's `clock_gettime`, in the simulation's thread that of the simulation.
///
/// # Safety
/// As libc's: `time` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    if !(SEEDED.load(Relaxed) && in_simulation()) {
        // SAFETY: the caller's promise is the same.
        return unsafe { real_clock(clock, time) };
    }
    READINGS.fetch_add(1, Relaxed);
    let base = if clock == libc::CLOCK_REALTIME { EPOCH_NS } else { UP_NS };
    let now_ns = base + NOW_NS.load(Relaxed);
    let now = libc::timespec { tv_sec: now_ns / 1_000_000_000, tv_nsec: now_ns % 1_000_000_000 };
    // SAFETY: the caller lets us write there.
    unsafe { time.write(now) };
    0
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

/// libc's own, which needs no system call: the other commands of this program measure time.
///
/// # Safety
/// As libc's: `time` can be written.
unsafe fn real_clock(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    const NAME: &CStr = c"clock_gettime";
    let mut found = REAL_CLOCK.load(Relaxed);
    if found.is_null() {
        // SAFETY: the name ends with a zero.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, NAME.as_ptr()) };
        REAL_CLOCK.store(found, Relaxed);
    }
    if found.is_null() {
        // SAFETY: the caller's promise is the system call's.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    }
    // SAFETY: libc's function of that name has this type, and the caller's promise is what it asks.
    unsafe { std::mem::transmute::<*mut c_void, ClockGettime>(found)(clock, time) }
}

fn in_simulation() -> bool {
    // A thread that ends has no part in it any more.
    IN_SIMULATION.try_with(Cell::get).unwrap_or(false)
}

/// Ends the process and says why, without a panic, which would draw in turn.
fn trip(why: &[u8]) -> ! {
    // SAFETY: the bytes are there.
    unsafe {
        libc::write(libc::STDERR_FILENO, why.as_ptr().cast(), why.len());
        libc::abort()
    }
}
