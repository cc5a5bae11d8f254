//! Random numbers that depend only on a seed.

use std::time::UNIX_EPOCH;

/// A generator of random numbers: xorshift64 (<https://www.jstatsoft.org/article/view/v008i14>).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Creates a generator whose seed is in the environment variable `SEED`, or is the current time. Prints the seed.
    pub(crate) fn from_env() -> Self {
        let seed = std::env::var("SEED").ok();
        let seed = seed.map(|seed| seed.parse::<u64>().unwrap());
        let seed = seed.unwrap_or_else(|| UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
        println!("SEED={seed}");
        Self(seed | 1)
    }

    /// Returns a generator of other numbers.
    pub(crate) fn split(&mut self) -> Self {
        // Without the multiplication, both generators would return the same numbers.
        Self(self.next().wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
