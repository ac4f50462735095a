//! A listener's recording and its index, of any bytes.
#![no_main]

use jam_chaos::ear::Recording;
use jam_fuzz::parts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = parts(bytes);
    let (wav, index) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Ok(recording) = Recording::parse(wav, index) {
        assert!(recording.sample_rate > 0);
        let _ = recording.first_sound_ns();
    }
});
