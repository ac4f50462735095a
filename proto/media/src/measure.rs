//! Measures a song's sound beside its decoding, on a thread of its own: each takes about half of the time.
//!
//! The one hears exactly what the other has decoded, in order, so what is measured is the same on any number of cores.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use crate::loudness::Meter;
use crate::waveform::Waveform;

/// Samples that are handed over at once: 0.2 s of stereo.
const BLOCK_SAMPLES: usize = 1 << 14;
/// Blocks that may be decoded before one of them is measured.
const BLOCKS_AHEAD: usize = 4;

/// What a song sounds and looks like, as far as it was heard.
pub(crate) struct Measures {
    pub(crate) meter: Meter,
    pub(crate) waveform: Waveform,
}

impl Measures {
    /// For sound of this rate whose first `delay` frames are not the song's.
    fn new(rate: u32, delay: u64) -> Self {
        Self { meter: Meter::new(rate, delay), waveform: Waveform::new(delay) }
    }

    fn hear(&mut self, block: &Block) {
        self.meter.hear(&block.samples);
        self.waveform.hear(block.start, &block.samples);
    }
}

/// Stereo samples without a hole, the first of them at frame `start` of the raw line.
#[derive(Default)]
struct Block {
    start: u64,
    samples: Vec<f32>,
}

impl Block {
    fn end(&self) -> u64 {
        self.start + self.samples.len() as u64 / 2
    }
}

/// Takes what was decoded.
pub(crate) struct Heard {
    block: Block,
    to: To,
}

enum To {
    /// A thread that measures, and what it gives back.
    Thread(SyncSender<Block>, Receiver<Block>),
    /// There was no thread for it.
    Here(Box<Measures>),
}

impl Heard {
    /// Hears stereo samples that begin at frame `start` of the raw line.
    pub(crate) fn hear(&mut self, start: u64, samples: &[f32]) {
        if start != self.block.end() || self.block.samples.len() >= BLOCK_SAMPLES {
            self.hand_over();
            self.block.start = start;
        }
        self.block.samples.extend_from_slice(samples);
    }

    fn hand_over(&mut self) {
        match &mut self.to {
            To::Here(measures) => measures.hear(&self.block),
            To::Thread(blocks, emptied) => {
                let next = emptied.try_recv().unwrap_or_default();
                // It takes all that it is sent, unless it panicked: then whoever waits for it panics, too.
                let _ = blocks.send(std::mem::replace(&mut self.block, next));
            }
        }
        self.block.samples.clear();
    }
}

/// Decodes, and measures what is decoded. `rate` and `delay` as for [`Meter::new`].
pub(crate) fn beside<T>(
    rate: u32,
    delay: u64,
    decode: impl FnOnce(&mut Heard) -> T,
) -> (T, Measures) {
    let (blocks, decoded) = sync_channel::<Block>(BLOCKS_AHEAD);
    let (give_back, emptied) = channel();
    let measure = move || {
        let mut measures = Measures::new(rate, delay);
        for block in decoded {
            measures.hear(&block);
            // Nobody wants it after the last one.
            let _ = give_back.send(block);
        }
        measures
    };
    thread::scope(|scope| {
        let name = thread::Builder::new().name("jam-measure".to_owned());
        let thread = name.spawn_scoped(scope, measure).ok();
        let to = match thread {
            Some(_) => To::Thread(blocks, emptied),
            None => To::Here(Box::new(Measures::new(rate, delay))),
        };
        let mut heard = Heard { block: Block::default(), to };
        let done = decode(&mut heard);
        heard.hand_over();
        let measures = match (heard.to, thread) {
            (To::Here(measures), _) => *measures,
            (to, thread) => {
                drop(to);
                let thread = thread.expect("blocks were sent to it");
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        (done, measures)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the packets and holes are, it is what is found without a thread.
    #[test]
    fn nothing_is_lost_on_the_way() {
        let wave = |n: u64| (n as f32 * 0.05).sin() * (n % 9000) as f32 / 9000.0;
        for packet in [1, 1152, 70_000] {
            let mut alone = Measures::new(44_100, 500);
            let (end, beside) = beside(44_100, 500, |heard| {
                let mut start = 0;
                for n in 0..200_000 / packet {
                    let samples: Vec<f32> = (start * 2..(start + packet) * 2).map(wave).collect();
                    heard.hear(start, &samples);
                    alone.hear(&Block { start, samples });
                    start += packet + if n % 50 == 0 { 300 } else { 0 };
                }
                start
            });
            assert!(end >= 140_000);
            assert_eq!(beside.meter.loudness(), alone.meter.loudness());
            assert_eq!(beside.waveform.points(end - 500), alone.waveform.points(end - 500));
        }
    }
}
